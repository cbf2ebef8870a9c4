"""Generators that run ahead of their reader, each in a thread: videos are decoded while a network computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from itertools import islice
from queue import Full, Queue
from threading import Event, Thread
from typing import Generic, TypeVar

Item = TypeVar("Item")
Source = Callable[[], Generator[Item, None, None]]
# Items of each generator that wait for the reader.
_AHEAD = 2
# Seconds between two checks of whether the reader still wants an item that waits for its place.
_PATIENCE = 0.1


def read_ahead(sources: Iterable[Source[Item]], threads: int) -> Generator[Iterator[Item], None, None]:
    """Run several generators at once and return the items of each, in order.

    An exception of a generator is raised where its next item is taken. Closing the result ends the threads.

    Args:
        sources: Functions that return a generator. All its items are made in one thread.
        threads: Maximum number of generators that run at once; 0 runs each in the calling thread, as it is read.

    Yields:
        For each source, an iterator over its items; what is left of it when the next one is asked for is dropped.
    """
    if threads == 0:
        for source in sources:
            yield source()
        return
    coming = iter(sources)
    running = deque(_Ahead(source) for source in islice(coming, threads))
    try:
        while running:
            yield running[0].items()
            running.popleft().stop()
            running.extend(_Ahead(source) for source in islice(coming, 1))
    finally:
        for each in running:
            each.stop()


class _Ahead(Generic[Item]):
    """One generator in a thread of its own.

    Args:
        source: Returns the generator.
    """

    def __init__(self, source: Source[Item]) -> None:
        self._source = source
        self._queue: Queue[tuple[Item] | BaseException | None] = Queue(_AHEAD)
        self._stopped = Event()
        # A thread that waits for a dead file system must not keep the program from ending.
        Thread(target=self._run, daemon=True).start()

    def items(self) -> Iterator[Item]:
        """Yield the items, waiting for each."""
        while (entry := self._queue.get()) is not None:
            if isinstance(entry, BaseException):
                raise entry
            yield entry[0]

    def stop(self) -> None:
        """End the thread after the item that it is making."""
        self._stopped.set()

    def _run(self) -> None:
        try:
            with closing(self._source()) as items:
                for item in items:
                    if not self._put((item,)):
                        return
        except BaseException as error:
            self._put(error)
        else:
            self._put(None)

    def _put(self, entry: tuple[Item] | BaseException | None) -> bool:
        """Queue an entry; return False if the reader does not want any more."""
        while not self._stopped.is_set():
            try:
                self._queue.put(entry, timeout=_PATIENCE)
            except Full:
                continue
            return True
        return False
