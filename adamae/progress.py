"""Messages and progress bars on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from adamae.distributed import World

# Called with the numbers of videos that are done, and of all.
ProgressCallback = Callable[[int, int], None]
_PLAIN_SECONDS = 30.0
_SCANNING = "scanning files"


def say(*lines: str) -> None:
    """Print lines on standard error."""
    for line in lines:
        print(line, file=sys.stderr, flush=True)


class Stages(Protocol):
    """Reports the progress of long work that starts with a scan of the files."""

    def work(self, done: int, total: int) -> None:
        """Report that ``done`` of ``total`` videos are done."""

    def scanning(self, seen: int, total: int | None) -> None:
        """Report that ``seen`` of ``total`` files were scanned; None if the total is unknown."""


@contextmanager
def progress_of(what: str, first: str = _SCANNING) -> Iterator[Stages]:
    """Show a progress bar on a terminal, and print a line at intervals otherwise.

    Args:
        what: Name of the work.
        first: Name of its first stage.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _PlainLines(what)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=console, transient=True) as bar:
        yield _Bars(bar, what, first)


class _Bars:
    """A bar for each stage, which replaces the previous one."""

    def __init__(self, bar: Bar, what: str, first: str) -> None:
        self._bar = bar
        self._what = what
        self._task = bar.add_task(first, total=None)
        self._stage = first

    def work(self, done: int, total: int) -> None:
        """See :class:`Stages`."""
        self._update(self._what, done, total)

    def scanning(self, seen: int, total: int | None) -> None:
        """See :class:`Stages`."""
        self._update(_SCANNING, seen, total)

    def _update(self, stage: str, done: int, total: int | None) -> None:
        if stage != self._stage:
            self._bar.remove_task(self._task)
            self._task, self._stage = self._bar.add_task(stage, total=total), stage
        self._bar.update(self._task, completed=done, total=total)


@contextmanager
def progress_bar(what: str, world: World) -> Iterator[ProgressCallback | None]:
    """Show the progress of work with a known number of videos on the main process; yield None on the others."""
    if not world.is_main:
        yield None
        return
    with progress_of(what, first=what) as stages:
        yield stages.work


@dataclass(frozen=True)
class Reporter:
    """Messages and progress bars of a function: on the main process, and only if they are requested.

    Attributes:
        world: The processes that share the work.
        verbose: Whether to print.
    """

    world: World
    verbose: bool

    def say(self, *lines: str) -> None:
        """Print lines on standard error."""
        if self.verbose and self.world.is_main:
            say(*lines)

    def progress_bar(self, what: str) -> AbstractContextManager[ProgressCallback | None]:
        """Return a context manager like :func:`progress_bar`."""
        return progress_bar(what, self.world) if self.verbose else nullcontext()


class _PlainLines:
    """Prints the progress at intervals."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._said = time.monotonic()

    def work(self, done: int, total: int) -> None:
        """See :class:`Stages`."""
        self._say(f"{self._what}: {done} of {total}")

    def scanning(self, seen: int, total: int | None) -> None:
        """See :class:`Stages`."""
        self._say(f"{_SCANNING}: {seen}" + ("" if total is None else f" of {total}"))

    def _say(self, line: str) -> None:
        if time.monotonic() - self._said >= _PLAIN_SECONDS:
            self._said = time.monotonic()
            print(line, file=sys.stderr, flush=True)
