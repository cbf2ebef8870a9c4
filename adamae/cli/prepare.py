"""``adamae prepare``: from a download to lists, fast videos and a report."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from adamae.options.prepare import PrepareOptions, prepare_parser

_PLAIN_SECONDS = 30.0


def run(words: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: If nothing could be prepared.
    """
    options = prepare_parser().parse(words).options
    try:
        with _stopped_by_sigterm(), _progress() as progress:
            print(_prepare(options, progress))
    except KeyboardInterrupt:
        print(
            f"adamae prepare: stopped; what is done in {options.prepared.out} is kept, the same command goes on",
            file=sys.stderr,
        )
        return 130
    return 0


def _prepare(options: PrepareOptions, progress: Callable[[int, int], None]) -> str:
    from adamae.data.preparation.journal import Part
    from adamae.data.preparation.prepare import prepare
    from adamae.data.preparation.transcoding import Encoding

    made, work = options.prepared, options.work
    report = prepare(
        options.download.layout,
        options.download.source,
        made.out,
        annotations=options.download.annotations,
        split=options.download.split,
        encoding=Encoding(made.short_side, made.gop, made.crf) if made.transcode else None,
        paths=made.paths,
        part=Part.parse(work.part),
        workers=(os.cpu_count() or 1) if work.workers is None else work.workers,
        time_limit=work.time_limit,
        retry=work.retry,
        progress=progress,
    )
    return report.render(examples=3)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A bar where somebody looks at a terminal; plain lines at intervals elsewhere."""
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
        yield _PlainLines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("reading labels", total=None)
        yield lambda done, total: bar.update(task, description="re-encoding", completed=done, total=total)


class _PlainLines:
    """Says at intervals how far the work is."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        if time.monotonic() - self._said >= _PLAIN_SECONDS:
            self._said = time.monotonic()
            print(f"{done} of {total} videos", file=sys.stderr, flush=True)


@contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """Let the signal with which clusters end a job do what Ctrl-C does."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
