"""A time limit for calls that may block forever."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta


def finishes_within(limit: timedelta, action: Callable[[], object]) -> bool:
    """Run ``action`` in a thread and wait for it up to ``limit``.

    Returns:
        False if the action takes longer than ``limit``; its thread then continues to run.

    Raises:
        BaseException: The exception of the action.
    """
    failures: list[BaseException] = []

    def work() -> None:
        try:
            action()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(limit.total_seconds())
    if thread.is_alive():
        return False
    if failures:
        raise failures[0]
    return True
