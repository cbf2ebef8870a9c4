"""Status of the loader workers (current video and start time), and the quarantine of videos that are not opened again.

A video can hang its decoder, crash it, or use so much memory that the system kills the process, which then cannot
report the video. Every worker therefore writes the row to shared memory before it opens the video, and rows at fault
are marked there for all workers.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

from adamae.data.decoding import DecodeError
from adamae.errors import UserError

# Marks of a row: 0 for none, one of these, or _EXIT plus the exit code of the worker that it ended.
_TOO_LONG, _EARLIER, _EXIT = 1, 2, 1000
# The alarm fires in this many parts: after the machine was suspended, only one part has passed, not the full limit.
_PARTS = 4
# More frequent signals would leave the process no time for anything else.
_SHORTEST_PART = 0.001
_NOBODY = -1.0
_ROW, _SINCE = 0, 1


class QuarantineError(DecodeError):
    """A video that took too long or ended a worker, and is not opened again."""


class _TimeIsUpError(BaseException):
    """A BaseException, so that no library catches it."""


class WorkerStatus:
    """Current row and start time of each worker, in shared memory. Created by the parent before the workers start.

    Args:
        workers: Number of workers.
    """

    def __init__(self, workers: int) -> None:
        self._board = torch.full((workers, 2), _NOBODY, dtype=torch.float64).share_memory_()
        self._pids = torch.zeros(workers, dtype=torch.int64).share_memory_()

    def register(self, worker: int, pid: int) -> None:
        """Register this process as ``worker``."""
        global _own_status
        self._pids[worker] = pid
        _own_status = self._board.numpy()[worker]

    def busy(self) -> dict[int, tuple[int, float]]:
        """Current row and start time (monotonic clock) of each busy process, by process id."""
        busy = zip(self._pids.tolist(), self._board.tolist(), strict=True)
        return {pid: (int(row), since) for pid, (row, since) in busy if row != _NOBODY}


# The entry of this process, if it is a worker.
_own_status: np.ndarray | None = None


class Watch:
    """Marks of the rows of a list, shared with the workers that are started after it is made.

    Args:
        num_rows: Rows of the list.
        limit: Time limit per video in seconds; 0 for no limit.

    Raises:
        UserError: If the limit is negative.
    """

    def __init__(self, num_rows: int, limit: float = 60.0) -> None:
        if limit < 0:
            raise UserError(f"the time limit per file is {limit} seconds, expected 0 or more")
        self.limit = limit
        self._marks = torch.zeros(num_rows, dtype=torch.int16).share_memory_()

    @contextmanager
    def over(self, row: int, path: str) -> Iterator[None]:
        """Context in which a row's video is read, under the time limit if the system can interrupt this thread.

        Raises:
            QuarantineError: The video took too long, now or before, or has ended a worker.
        """
        if mark := int(self._marks[row]):
            raise QuarantineError(path, self._reason(mark))
        status = _own_status
        if status is not None:
            status[:] = row, time.monotonic()
        try:
            with _alarm(self.limit):
                yield
        except _TimeIsUpError:
            self.too_long(row)
            raise QuarantineError(path, self._reason(_TOO_LONG)) from None
        finally:
            if status is not None:
                status[_ROW] = _NOBODY

    def too_long(self, row: int) -> None:
        """Mark a row whose video took too long."""
        self._marks[row] = _TOO_LONG

    def ended_worker(self, row: int, exit_code: int) -> None:
        """Mark a row whose video ended the process that read it; exit codes below 0 are signals."""
        self._marks[row] = _EXIT + exit_code

    def quarantine(self, rows: Iterable[int]) -> None:
        """Mark rows that were found to be at fault elsewhere: by another rank, or before a run was resumed."""
        for row in rows:
            if not self._marks[row]:
                self._marks[row] = _EARLIER

    def _reason(self, mark: int) -> str:
        if mark == _TOO_LONG:
            return f"took longer than {self.limit:g} seconds (--video_timeout)"
        if mark == _EARLIER:
            return "quarantined earlier in this run"
        return f"ended the process that read it ({describe_exit(mark - _EXIT)})"


def describe_exit(code: int) -> str:
    """Return a description of a process's exit code."""
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"{name}, as sent by the system when memory runs out" if name == "SIGKILL" else name


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise _TimeIsUpError when the time is over; does nothing outside the main thread, where signals do not arrive."""
    possible = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if not seconds or not possible:
        yield
        return
    left = _PARTS

    def tick(number: int, frame: object) -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            raise _TimeIsUpError

    before = signal.signal(signal.SIGALRM, tick)
    try:
        part = max(seconds / _PARTS, _SHORTEST_PART)
        signal.setitimer(signal.ITIMER_REAL, part, part)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, before)
