"""Commands that process many videos and resume after they were stopped."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adamae.progress import Stages

# As in shells: 128 plus the number of SIGINT.
_STOPPED = 130


def run_resumable(command: str, work: Callable[[Stages], str], *, doing: str, kept: str) -> int:
    """Run the work of a command with a progress bar, and print its report.

    Args:
        command: Name of the command.
        work: Reports its progress and returns the report. Ctrl-C and SIGTERM raise KeyboardInterrupt in it.
        doing: Name of the work beside the progress bar.
        kept: What is kept after Ctrl-C or SIGTERM, for the message.

    Returns:
        0, or 130 after Ctrl-C or SIGTERM.
    """
    from adamae.progress import progress_of

    try:
        with _stopped_by_sigterm(), progress_of(doing) as progress:
            report = work(progress)
    except KeyboardInterrupt:
        print(f"adamae {command}: {kept}, run the same command to resume", file=sys.stderr)
        return _STOPPED
    print(report)
    return 0


@contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """Context manager in which SIGTERM, with which clusters end a job, has the effect of Ctrl-C."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
