"""Runs jobs in worker processes. A process that crashes or hangs fails its own job and no other.

If the system kills a process, its job is retried; see :mod:`~adamae.data.killed_workers`.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any, Generic, TypeVar

from adamae.data.children import end_with_this_process, leave_with_parent
from adamae.data.decoding.protocol import library_reason
from adamae.data.killed_workers import SYSTEM_KILL, KilledWorkers
from adamae.data.watch import describe_exit
from adamae.errors import UserError

Job = TypeVar("Job")
_UP = "up"
# A process that does not start is tried once more.
_MOST_FAILED_STARTS = 2
# Seconds to wait until a process has exited after it closed its end of the pipe.
_GRACE = 5.0
_REMEDY = "use fewer --workers. Finished work is kept: run the same command to resume"


@dataclass(frozen=True)
class Failure:
    """A failed job.

    Attributes:
        reason: Reason in one line.
        error: Exception that the job raised; None if its process died or was stopped.
    """

    reason: str
    error: Exception | None = None


def run_jobs(
    function: Callable[[Job], Any], jobs: Iterable[Job], *, workers: int, time_limit: float | None = None
) -> Iterator[tuple[Job, Any]]:
    """Yield each job with its result, in order of completion; a :class:`Failure` for a job that failed.

    Workers exit when this process ends, however it ends. Closing the generator ends them.

    Args:
        function: Called with a job; defined in a module, so that a new process finds it.
        jobs: Taken one by one, as workers become free.
        workers: Number of processes; 0 runs jobs in this process, without a time limit.
        time_limit: Time limit per job in seconds.

    Raises:
        UserError: If the system kills worker processes one after another, or they end before they take a job.
    """
    if workers == 0:
        for job in jobs:
            yield job, _attempt(function, job)
        return
    pool = _WorkerPool(function, workers, time_limit)
    waiting = enumerate(jobs)
    try:
        while True:
            # Take a job before a process is started for it: there may be none left.
            next_one = pool.again.pop() if pool.again else next(waiting, None)
            if next_one is not None:
                pool.begin(*next_one)
            elif not pool.busy:
                return
            while pool.is_full or (pool.busy and next_one is None and not pool.again):
                yield from pool.finished()
    finally:
        pool.stop()


class _WorkerPool(Generic[Job]):
    """The worker processes.

    Args:
        function: Called with each job.
        workers: Maximum number of processes.
        time_limit: Time limit per job in seconds.

    Attributes:
        again: Jobs to retry, with their numbers, because the system killed their process or it did not start.
    """

    def __init__(self, function: Callable[[Job], Any], workers: int, time_limit: float | None) -> None:
        self.again: list[tuple[int, Job]] = []
        self._function = function
        self._size = workers
        self._time_limit = time_limit
        self._workers: list[_Worker[Job]] = []
        self._killed = KilledWorkers("worker processes", _REMEDY)
        self._failed_starts = 0

    @property
    def busy(self) -> list[_Worker[Job]]:
        """Workers that have a job."""
        return [worker for worker in self._workers if worker.job is not None]

    @property
    def is_full(self) -> bool:
        """Whether all workers are busy."""
        return len(self.busy) == self._size

    def begin(self, number: int, job: Job) -> None:
        """Send a job to an idle worker, or to a new one."""
        idle = next((worker for worker in self._workers if worker.job is None), None)
        if idle is None:
            idle = _Worker(self._function, self._time_limit)
            self._workers.append(idle)
        idle.begin(number, job)

    def finished(self) -> Iterator[tuple[Job, Any]]:
        """Wait for an event, then yield the finished jobs and their results. Removes workers that are lost."""
        busy = self.busy
        limits = [worker.seconds_left for worker in busy if worker.seconds_left is not None]
        ready = wait([worker.connection for worker in busy], timeout=min(limits, default=None))
        for worker in busy:
            if worker.connection in ready and worker.comes_up():
                continue
            if worker.connection in ready or worker.seconds_left == 0:
                (number, job), result = worker.finish(worker.connection in ready)
                if worker.lost:
                    self._workers.remove(worker)
                if worker.failed_start:
                    self._count_failed_start(worker.failed_start)
                    self.again.append((number, job))
                    continue
                self._failed_starts = 0
                if worker.was_killed and number not in self._killed.add([number]):
                    self.again.append((number, job))
                    continue
                self._killed.pass_one()
                yield job, result

    def _count_failed_start(self, how: str) -> None:
        self._failed_starts += 1
        if self._failed_starts == _MOST_FAILED_STARTS:
            raise UserError(
                f"worker processes end before they take a job ({how}); in a script the call must be below "
                'if __name__ == "__main__":, or use no workers'
            )

    def stop(self) -> None:
        """Kill all workers."""
        for worker in self._workers:
            worker.stop()


class _Worker(Generic[Job]):
    """A process that runs one job at a time.

    Attributes:
        job: Current job, with its number.
        lost: Whether the process is gone.
        was_killed: Whether the system killed it.
        failed_start: How the process ended, if it did so by itself before it was up; empty otherwise.
    """

    def __init__(self, function: Callable[[Job], Any], time_limit: float | None) -> None:
        self.job: tuple[int, Job] | None = None
        self.lost = False
        self.was_killed = False
        self.failed_start = ""
        self._limit = time_limit
        # None until the process is up: its start does not count towards the job's time.
        self._began: float | None = None
        self._is_up = False
        # Not forked from this process, which may have threads, but from a server that has only imported the modules
        # that take long, so that a lost worker is replaced quickly.
        context: ForkServerContext = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        self.connection, other = context.Pipe()
        self._process: ForkServerProcess = context.Process(target=_serve, args=(other, function), daemon=True)
        self._process.start()
        end_with_this_process([self._process])
        other.close()

    @property
    def seconds_left(self) -> float | None:
        """Seconds left for the job; None without a limit, or before the process is up."""
        if self._limit is None or self._began is None:
            return None
        return max(self._began + self._limit - time.monotonic(), 0.0)

    def begin(self, number: int, job: Job) -> None:
        """Send a job."""
        self.job = number, job
        self._began = time.monotonic() if self._is_up else None
        # A process that was killed while idle is detected when its result is received.
        with suppress(OSError):
            self.connection.send(job)

    def comes_up(self) -> bool:
        """Return whether the process reports that it is up, and if so start the job's time limit."""
        if self._is_up:
            return False
        try:
            self._is_up = self.connection.recv() == _UP
        except (EOFError, OSError):
            return False
        self._began = time.monotonic()
        return True

    def finish(self, answered: bool) -> tuple[tuple[int, Job], Any]:
        """Return the job and its result, or a failure if the process died or took too long."""
        job, self.job = self.job, None
        assert job is not None
        if not answered:
            self.stop()
            return job, Failure(f"took longer than {self._limit:g} seconds")
        try:
            return job, self.connection.recv()
        except (EOFError, OSError):
            # The process ended by itself or was killed: get its exit code before stop() sends a signal.
            self._process.join(_GRACE)
            self.stop()
            code = self._process.exitcode
            assert code is not None
            self.was_killed = code == SYSTEM_KILL
            if not (self._is_up or self.was_killed):
                self.failed_start = describe_exit(code)
            return job, Failure(f"the process that read it ended ({describe_exit(code)})")

    def stop(self) -> None:
        """Kill the process."""
        self.lost = True
        self._process.kill()
        self._process.join()
        self.connection.close()


def _attempt(function: Callable[[Job], Any], job: Job) -> Any:
    try:
        return function(job)
    except Exception as error:
        return Failure(f"{type(error).__name__}: {library_reason(error)}", error)


def _serve(connection: Connection, function: Callable[[Job], Any]) -> None:
    """Main loop of a worker process."""
    # Ctrl-C reaches every process of a terminal, and a cluster's SIGTERM every process of a job: the parent handles it.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    leave_with_parent()
    connection.send(_UP)
    while True:
        try:
            job = connection.recv()
        except (EOFError, OSError):
            return
        connection.send(_attempt(function, job))
