"""A DataLoader that recovers from videos that hang or crash its workers, without losing a batch.

The keys of a batch depend only on its number, and samples only on their keys. When a worker ends, its row is marked,
all workers are restarted, and the batches that were not yet delivered are loaded again: identical except for that row.
If the system killed the worker, the row is not marked but retried, see :mod:`~adamae.data.killed_workers`.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import signal
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from multiprocessing.connection import wait
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from adamae.data.children import end_with_this_process, leave_with_parent
from adamae.data.killed_workers import SYSTEM_KILL, KilledWorkers
from adamae.data.watch import Watch, WorkerStatus, describe_exit
from adamae.errors import UserError
from adamae.launch import PREEMPTION_SIGNALS

# Number of a batch -> keys of that batch and of all batches after it.
BatchKeysFrom = Callable[[int], Iterable[list[Any]]]
# Seconds between two checks of the workers while waiting for a batch.
_POLL_SECONDS = 1.0
# A worker interrupts a slow video itself; if it has not done so after this many further seconds, it is killed.
_GRACE = 5.0
# Number of checks without a busy worker or a batch after which the workers are restarted.
_MOST_IDLE_POLLS = 120
# Number of consecutive restarts without a video at fault or a kill by the system.
_MOST_RESTARTS = 3
_REMEDY = "a smaller --num_workers or --batch_size helps, or more memory: RAM, and /dev/shm (docker run --shm-size 16g)"


def watched_batches(
    dataset: Dataset[Any],
    keys_from: BatchKeysFrom,
    *,
    watch: Watch,
    collate: Callable[[list[Any]], Any],
    num_workers: int = 0,
    pin_memory: bool = False,
    prefetch: int = 2,
) -> Generator[Any, None, None]:
    """Yield batches in order, each once, restarting workers if needed. Closing the generator ends the workers.

    Args:
        dataset: Opens videos under ``watch``, and replaces a video for which it raises.
        keys_from: Returns the keys of the batches from a given number on.
        watch: Marks of the rows, shared with the data set.
        collate: Joins the samples of a batch.
        num_workers: Decoding processes with one thread each; 0 decodes in this process.
        pin_memory: Use pinned memory for batches.
        prefetch: Number of batches that each worker prefetches.

    Raises:
        UserError: If workers repeatedly end without reading a video, or the system kills them repeatedly.
    """
    settings: dict[str, Any] = {"collate_fn": collate, "pin_memory": pin_memory}
    # DataLoader draws a seed for its workers, which they do not use: keep it off the global generator.
    settings["generator"] = torch.Generator()
    if not num_workers:
        yield from DataLoader(dataset, batch_sampler=keys_from(0), **settings)
        return
    settings |= {"num_workers": num_workers, "prefetch_factor": prefetch, "multiprocessing_context": _start_method()}
    delivered = restarts = 0
    killed = KilledWorkers("loader workers", _REMEDY)
    while True:
        pool = _WorkerPool(partial(DataLoader, dataset, batch_sampler=keys_from(delivered), **settings), watch)
        try:
            for batch in pool:
                delivered, restarts = delivered + 1, 0
                killed.pass_one()
                yield batch
        finally:
            pool.terminate()
        if pool.lost is None:
            return
        if pool.killed_at:
            for row in killed.add(pool.killed_at):
                watch.ended_worker(row, SYSTEM_KILL)
            continue
        restarts += not pool.found_fault
        if restarts > _MOST_RESTARTS:
            raise UserError(
                f"loader workers ended {restarts} times in a row although none was reading a file ({pool.lost}); "
                f"if memory is short, {_REMEDY}"
            )


class _WorkerPool:
    """The worker processes of one DataLoader.

    Args:
        make_loader: Creates the DataLoader from its remaining keyword arguments.
        watch: Receives the rows at fault.

    Attributes:
        lost: Reason why the workers ended early; None while they run.
        found_fault: Whether a row was identified as the cause.
        killed_at: Row of each worker that the system killed; None for an idle worker.
    """

    def __init__(self, make_loader: Callable[..., DataLoader[Any]], watch: Watch) -> None:
        self.lost: str | None = None
        self.found_fault = False
        self.killed_at: list[int | None] = []
        self._watch = watch
        workers = make_loader.keywords["num_workers"]  # type: ignore[attr-defined]
        self._status = WorkerStatus(workers)
        others = multiprocessing.active_children()
        loader = make_loader(timeout=_POLL_SECONDS, worker_init_fn=partial(_begin_work, self._status))
        self._batches: Iterator[Any] | None = iter(loader)
        self._processes = [process for process in multiprocessing.active_children() if process not in others]
        end_with_this_process(self._processes)
        _take_back_alarm()

    def __iter__(self) -> Iterator[Any]:
        end = object()
        while self.lost is None:
            batch = self._next(end)
            if batch is end:
                return
            if self.lost is None:
                yield batch

    def _next(self, end: object) -> Any:
        """Return the next batch, or ``end`` after the last one. The value is undefined once the workers are lost."""
        idle, slow = 0, set[tuple[int, float]]()
        while self.lost is None:
            try:
                return next(self._batches, end)  # type: ignore[arg-type]
            except (RuntimeError, OSError, EOFError) as error:
                waited_in_vain = "DataLoader timed out" in str(error)
                if not isinstance(error, RuntimeError):
                    # The result of the worker is lost; its exit may be visible only a moment later.
                    leaving = wait([process.sentinel for process in self._processes], timeout=_GRACE)
                    for process in self._processes:
                        if process.sentinel in leaving:
                            # The sentinel is ready before the exit code is available.
                            process.join(timeout=_GRACE)
                if self._some_ended():
                    continue
                if not waited_in_vain:
                    raise
            busy = self._status.busy()
            idle = 0 if busy else idle + 1
            if idle > _MOST_IDLE_POLLS:
                self.lost = "no batch was delivered"
            slow = self._stop_those_still(slow, busy)
        return end

    def _some_ended(self) -> bool:
        """Return whether workers have ended, and mark their rows unless the system killed them."""
        ended = [process for process in self._processes if process.exitcode is not None]
        busy = self._status.busy()
        for process in ended:
            assert process.exitcode is not None
            self.lost = describe_exit(process.exitcode)
            row, _ = busy.get(process.pid, (None, 0.0))  # type: ignore[arg-type]
            if process.exitcode == SYSTEM_KILL:
                self.killed_at.append(row)
            elif row is not None:
                self.found_fault = True
                self._watch.ended_worker(row, process.exitcode)
        return bool(ended)

    def _stop_those_still(
        self, slow: set[tuple[int, float]], busy: dict[int, tuple[int, float]]
    ) -> set[tuple[int, float]]:
        """Kill workers that exceeded the limit in two consecutive checks on the same video; returns those beyond it.

        Two checks, because after the machine was suspended all workers seem to exceed the limit.
        """
        limit = self._watch.limit
        if not limit:
            return set()
        latest = time.monotonic() - limit - min(_GRACE, limit)
        beyond = {(pid, since) for pid, (_, since) in busy.items() if since < latest}
        for process in self._processes:
            if any(pid == process.pid for pid, _ in beyond & slow):
                self.lost, self.found_fault = "too slow", True
                self._watch.too_long(busy[process.pid][0])  # type: ignore[index]
                process.kill()
        return beyond

    def terminate(self) -> None:
        """Kill the workers that are still alive."""
        self._batches = None
        for process in self._processes:
            if process.is_alive():
                process.kill()
                process.join()


def _start_method() -> str | None:
    """Return "fork" on Linux, which shares the list among workers, unless the program chose a start method.

    The default of newer Python versions would copy the list to every worker.
    """
    chosen = multiprocessing.get_start_method(allow_none=True)
    return None if chosen or platform.system() != "Linux" else "fork"


def _begin_work(status: WorkerStatus, worker: int) -> None:
    leave_with_parent()
    status.register(worker, os.getpid())
    # Workers end with the run.
    for number in PREEMPTION_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _take_back_alarm() -> None:
    """Remove torch's SIGCHLD handler: it raises anywhere in the main thread, for example in the middle of an update."""
    handler = signal.getsignal(signal.SIGCHLD) if hasattr(signal, "SIGCHLD") else None
    if getattr(handler, "__module__", "").startswith("torch.utils.data"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
