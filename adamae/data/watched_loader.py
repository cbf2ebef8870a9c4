"""torch's DataLoader for videos that hang or crash their workers: it goes on at the very batch that was lost.

Keys of batches follow from their number alone, and samples from their keys. So when a worker is gone, the row that it
was at is marked, all workers are replaced, and what was not yet handed out is made again: the same, but for that row.
A worker that the system killed says nothing against its row, which is not marked but tried again, see
:mod:`~adamae.data.killed_workers`.
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
from adamae.data.watch import Desks, Watch, describe_exit
from adamae.errors import UserError

# The number of a batch -> keys of that one and of all after it.
BatchKeysFrom = Callable[[int], Iterable[list[Any]]]
# A signal that asks a run to save and leave is often sent to every process of a job. Workers leave with the run.
_SIGNALS_OF_THE_RUN = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
# Seconds between two looks at workers that keep one waiting.
_GLANCE = 1.0
# A worker stops a slow video itself; so much later, at most, it is taken to be beyond that.
_GRACE = 5.0
# Glances at workers none of which is at a video and none of which delivers.
_MOST_IDLE_GLANCES = 120
# Times in a row that workers are replaced though no video is at fault and nobody killed them.
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
    """Batches in order, each once, whatever becomes of the workers. Closing the generator ends them.

    Args:
        dataset: Opens videos under ``watch``, and does without a video for which that raises.
        keys_from: The keys of the batches from any one on.
        watch: Shared with the data set.
        collate: Joins the samples of a batch.
        num_workers: Processes that decode, one thread each; 0 decodes in this one.
        pin_memory: Keep batches in memory that a GPU reads directly.
        prefetch: Batches that each worker makes ahead.

    Raises:
        UserError: If workers keep ending while they are at no video, or the system kills them one after another.
    """
    settings: dict[str, Any] = {"collate_fn": collate, "pin_memory": pin_memory}
    # The loader draws a seed for its workers, which use none: not from the generator that others rely on.
    settings["generator"] = torch.Generator()
    if not num_workers:
        yield from DataLoader(dataset, batch_sampler=keys_from(0), **settings)
        return
    settings |= {"num_workers": num_workers, "prefetch_factor": prefetch, "multiprocessing_context": _start_method()}
    delivered = restarts = 0
    killed = KilledWorkers("loader workers", _REMEDY)
    while True:
        crew = _Crew(partial(DataLoader, dataset, batch_sampler=keys_from(delivered), **settings), watch)
        try:
            for batch in crew:
                delivered, restarts = delivered + 1, 0
                killed.pass_one()
                yield batch
        finally:
            crew.dismiss()
        if crew.lost is None:
            return
        if crew.killed_at:
            for row in killed.add(crew.killed_at):
                watch.ended_worker(row, SYSTEM_KILL)
            continue
        restarts += not crew.found_fault
        if restarts > _MOST_RESTARTS:
            raise UserError(
                f"loader workers ended {restarts} times in a row although none was reading a video ({crew.lost}); "
                f"if memory is short, {_REMEDY}"
            )


class _Crew:
    """The workers of one DataLoader, from their start to their end.

    Args:
        make_loader: Takes what a DataLoader takes besides.
        watch: Gets the rows that are at fault.

    Attributes:
        lost: Why they could not go on, in words; None as long as they could.
        found_fault: Whether a row was found to be the cause.
        killed_at: The row that each worker was at that the system killed, None for one that was at none.
    """

    def __init__(self, make_loader: Callable[..., DataLoader[Any]], watch: Watch) -> None:
        self.lost: str | None = None
        self.found_fault = False
        self.killed_at: list[int | None] = []
        self._watch = watch
        workers = make_loader.keywords["num_workers"]  # type: ignore[attr-defined]
        self._desks = Desks(workers)
        others = multiprocessing.active_children()
        loader = make_loader(timeout=_GLANCE, worker_init_fn=partial(_begin_work, self._desks))
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
        """The next batch; ``end`` after the last; anything once the workers are lost."""
        idle, slow = 0, set[tuple[int, float]]()
        while self.lost is None:
            try:
                return next(self._batches, end)  # type: ignore[arg-type]
            except (RuntimeError, OSError, EOFError) as error:
                waited_in_vain = "DataLoader timed out" in str(error)
                if not isinstance(error, RuntimeError):
                    # What a worker had to hand over went with it; its end may come a moment later.
                    leaving = wait([process.sentinel for process in self._processes], timeout=_GRACE)
                    for process in self._processes:
                        if process.sentinel in leaving:
                            # Its files are closed before the system knows how it ended.
                            process.join(timeout=_GRACE)
                if self._some_ended():
                    continue
                if not waited_in_vain:
                    raise
            at_work = self._desks.at_work()
            idle = 0 if at_work else idle + 1
            if idle > _MOST_IDLE_GLANCES:
                self.lost = "no batch was delivered"
            slow = self._stop_those_still(slow, at_work)
        return end

    def _some_ended(self) -> bool:
        """Whether workers are gone; marks the rows that they were at, unless the system killed them."""
        ended = [process for process in self._processes if process.exitcode is not None]
        at_work = self._desks.at_work()
        for process in ended:
            assert process.exitcode is not None
            self.lost = describe_exit(process.exitcode)
            row, _ = at_work.get(process.pid, (None, 0.0))  # type: ignore[arg-type]
            if process.exitcode == SYSTEM_KILL:
                self.killed_at.append(row)
            elif row is not None:
                self.found_fault = True
                self._watch.ended_worker(row, process.exitcode)
        return bool(ended)

    def _stop_those_still(
        self, slow: set[tuple[int, float]], at_work: dict[int, tuple[int, float]]
    ) -> set[tuple[int, float]]:
        """End workers that were beyond the limit a glance ago and are at the same video now; returns those beyond it.

        Two glances, because after the whole machine has slept, everybody seems to have been at a video for long.
        """
        limit = self._watch.limit
        if not limit:
            return set()
        latest = time.monotonic() - limit - min(_GRACE, limit)
        beyond = {(pid, since) for pid, (_, since) in at_work.items() if since < latest}
        for process in self._processes:
            if any(pid == process.pid for pid, _ in beyond & slow):
                self.lost, self.found_fault = "too slow", True
                self._watch.too_long(at_work[process.pid][0])  # type: ignore[index]
                process.kill()
        return beyond

    def dismiss(self) -> None:
        """End the workers; those that are at a video may finish it, for some seconds."""
        self._batches = None
        for process in self._processes:
            if process.is_alive():
                process.kill()
                process.join()


def _start_method() -> str | None:
    """Workers are forked, which shares the list among them, unless the program chose otherwise or cannot.

    Newer Pythons would copy the list to every worker.
    """
    chosen = multiprocessing.get_start_method(allow_none=True)
    return None if chosen or platform.system() != "Linux" else "fork"


def _begin_work(desks: Desks, worker: int) -> None:
    leave_with_parent()
    desks.sit_down(worker, os.getpid())
    for number in _SIGNALS_OF_THE_RUN:
        signal.signal(number, signal.SIG_IGN)


def _take_back_alarm() -> None:
    """Undo torch's handler of SIGCHLD: it raises wherever the main thread is, in the middle of an update say."""
    handler = signal.getsignal(signal.SIGCHLD) if hasattr(signal, "SIGCHLD") else None
    if getattr(handler, "__module__", "").startswith("torch.utils.data"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
