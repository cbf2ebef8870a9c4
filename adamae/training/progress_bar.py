"""Progress bar of a training run."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column

# Values shown on the terminal, in this order; the log has all of them.
_SHOWN = {
    "loss": "loss {:.4f}",
    "reconstruction": "reconstruction {:.4f}",
    # The error of a trivial reconstruction, for comparison.
    "trivial": "trivial {:.4f}",
    "sampling": "sampling {:.3f}",
    "hit_rate": "hit rate {:.2f}",
    "accuracy": "accuracy {:.2f}",
    "clips_per_second": "{:.1f} clips/s",
}


class ProgressReport:
    """A progress bar on a terminal, plain lines at intervals elsewhere, and nothing on other ranks.

    Args:
        total: Steps of the run.
        done: Steps completed before the start.
        silent: Print nothing.
        stream: Output stream; standard error by default.
        seconds: Minimum time between two plain lines.
    """

    def __init__(
        self, total: int, done: int = 0, *, silent: bool = False, stream: TextIO | None = None, seconds: float = 10.0
    ) -> None:
        self._total = total
        self._start_step = self._step = self._last_printed_step = done
        self._silent = silent
        self._stream = stream or sys.stderr
        self._seconds = seconds
        self._start_time = self._last_printed_time = time.monotonic()
        self._values: Mapping[str, float] = {}
        self._bar: Progress | None = None
        if not silent and self._stream.isatty():
            self._bar = Progress(
                BarColumn(bar_width=10),
                MofNCompleteColumn(table_column=Column(no_wrap=True, min_width=2 * len(str(total)) + 1)),
                # On a narrow terminal the values wrap to a second line instead of being cut.
                TextColumn("{task.description}", table_column=Column(ratio=1)),
                TimeElapsedColumn(table_column=Column(no_wrap=True, min_width=7)),
                TextColumn("left"),
                TimeRemainingColumn(table_column=Column(no_wrap=True, min_width=7)),
                console=Console(file=self._stream),
            )
            self._task = self._bar.add_task("", total=total, completed=done)

    def __enter__(self) -> ProgressReport:
        """Start the bar."""
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the bar, or print the last line."""
        if self._bar is not None:
            self._bar.stop()
        elif not self._silent and self._step > self._last_printed_step:
            self._print_line()

    def advance(self, step: int) -> None:
        """Update the number of completed steps."""
        self._step = step
        if self._bar is not None:
            self._bar.update(self._task, completed=step)

    def show(self, values: Mapping[str, float]) -> None:
        """Update the displayed values."""
        self._values = values
        if self._bar is not None:
            self._bar.update(self._task, description=self._describe())
        elif not self._silent and time.monotonic() - self._last_printed_time >= self._seconds:
            self._print_line()

    def _describe(self) -> str:
        known = ((text, self._values.get(name)) for name, text in _SHOWN.items())
        return "  ".join(text.format(value) for text, value in known if value is not None)

    def _print_line(self) -> None:
        self._last_printed_time, self._last_printed_step = time.monotonic(), self._step
        seconds = (self._last_printed_time - self._start_time) / max(self._step - self._start_step, 1)
        left = _clock(seconds * (self._total - self._step))
        print(f"step {self._step}/{self._total}  {self._describe()}  {left} left", file=self._stream, flush=True)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
