"""Calls that may block for ever, waited for no longer than a limit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta


def finishes_within(limit: timedelta, action: Callable[[], object]) -> bool:
    """Run ``action`` in a thread, and wait for its end.

    Returns:
        False if it takes longer than ``limit``; it is then left to itself.

    Raises:
        BaseException: What the action raised.
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
