"""Many jobs over a few processes: one that crashes or hangs costs its own job and no other."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, Generic, TypeVar

from adamae.data.decoding.protocol import one_line

Job = TypeVar("Job")


@dataclass(frozen=True)
class Failure:
    """A job that gave no result.

    Attributes:
        reason: Why, in one line.
        error: What it raised, unless its process died.
    """

    reason: str
    error: Exception | None = None


def run_jobs(
    function: Callable[[Job], Any], jobs: Iterable[Job], *, workers: int, time_limit: float | None = None
) -> Iterator[tuple[Job, Any]]:
    """Results in the order in which they come, each with its job; a :class:`Failure` for a job that gave none.

    Workers leave when this process ends in whatever way. Closing the generator ends them.

    Args:
        function: Called with a job; of a module, so that a new process finds it.
        jobs: Taken one by one, as workers become free.
        workers: Processes; 0 works in this one, without a time limit.
        time_limit: Seconds that a job may take.
    """
    if workers == 0:
        for job in jobs:
            yield job, _attempt(function, job)
        return
    crew: list[_Worker[Job]] = []
    waiting = iter(jobs)
    try:
        # The first job is taken before the first process is started: there may be none.
        for job in waiting:
            idle = next((worker for worker in crew if worker.job is None), None)
            if idle is None:
                idle = _Worker(function, time_limit)
                crew.append(idle)
            idle.begin(job)
            while len(crew) == workers and all(worker.job is not None for worker in crew):
                yield from _finished(crew)
        while any(worker.job is not None for worker in crew):
            yield from _finished(crew)
    finally:
        for worker in crew:
            worker.stop()


def _finished(crew: list[_Worker[Job]]) -> Iterator[tuple[Job, Any]]:
    """Wait until something happens; what the workers that are done have to give. Workers that are lost leave."""
    busy = [worker for worker in crew if worker.job is not None]
    limit = min((worker.seconds_left for worker in busy), default=None, key=lambda left: left or 0.0)
    ready = wait([worker.connection for worker in busy], timeout=limit)
    for worker in busy:
        if worker.connection in ready or worker.seconds_left == 0:
            job, result = worker.finish(worker.connection in ready)
            if worker.lost:
                crew.remove(worker)
            assert job is not None
            yield job, result


class _Worker(Generic[Job]):
    """A process that does one job at a time."""

    def __init__(self, function: Callable[[Job], Any], time_limit: float | None) -> None:
        self.job: Job | None = None
        self.lost = False
        self._limit = time_limit
        self._until = 0.0
        # Started afresh, not forked: the caller may have threads of its own.
        context: SpawnContext = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self._process: SpawnProcess = context.Process(target=_serve, args=(other, function), daemon=True)
        self._process.start()
        other.close()

    @property
    def seconds_left(self) -> float | None:
        """Of the job's time; None without a limit."""
        return None if self._limit is None else max(self._until - time.monotonic(), 0.0)

    def begin(self, job: Job) -> None:
        """Hand over a job."""
        self.job = job
        self._until = time.monotonic() + (self._limit or 0.0)
        self.connection.send(job)

    def finish(self, answered: bool) -> tuple[Job | None, Any]:
        """The job and its result, or a failure if the process died or took too long."""
        job, self.job = self.job, None
        if not answered:
            self.stop()
            return job, Failure(f"took longer than {self._limit:g} seconds")
        try:
            return job, self.connection.recv()
        except (EOFError, OSError):
            self.stop()
            return job, Failure(f"reading it ended the process ({_how_it_ended(self._process.exitcode)})")

    def stop(self) -> None:
        """End the process, whatever it does."""
        self.lost = True
        self._process.kill()
        self._process.join()
        self.connection.close()


def _how_it_ended(code: int | None) -> str:
    return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"


def _attempt(function: Callable[[Job], Any], job: Job) -> Any:
    try:
        return function(job)
    except Exception as error:
        return Failure(f"{type(error).__name__}: {one_line(error)}", error)


def _serve(connection: Connection, function: Callable[[Job], Any]) -> None:
    """A worker's life."""
    # Ctrl-C reaches every process of a terminal; the first one decides what is to be done.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    while True:
        try:
            job = connection.recv()
        except (EOFError, OSError):
            return
        connection.send(_attempt(function, job))


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
