"""Chart of a measured or predicted step."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from adamae.errors import UserError
from adamae.files import publish


class DrawnReport(Protocol):
    """A measured or predicted step and those to compare."""

    @property
    def title(self) -> str:
        """Model, device, precision and batch size."""

    @property
    def rates(self) -> dict[str, float]:
        """Clips per second of our step and all others."""

    @property
    def part_seconds(self) -> dict[str, float]:
        """Seconds of each part of our step."""

    parts_title: str


def write_step_picture(report: DrawnReport, path: Path) -> None:
    """Draw bar charts of the clips per second of all contenders and of the time of each part of our step.

    Args:
        report: The measurement or prediction.
        path: PNG file, written atomically.

    Raises:
        UserError: If the file cannot be written, or matplotlib is missing.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("--plot needs the package matplotlib: pip install matplotlib") from error

    speeds = report.rates
    parts = {name: seconds * 1e3 for name, seconds in report.part_seconds.items()}
    figure = Figure(figsize=(10, 1.6 + 0.3 * max(len(speeds), len(parts))), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    figure.suptitle(report.title)
    columns = figure.subplots(1, 2)
    labels = ("clips per second", f"milliseconds of each part{report.parts_title}")
    for axes, values, label in zip(columns, (speeds, parts), labels, strict=True):
        bars = axes.barh(list(values), list(values.values()), color="#3b528b")
        axes.bar_label(bars, fmt="%.3g", padding=3)
        axes.invert_yaxis()
        axes.margins(x=0.15)
        axes.set_xlabel(label)
    publish(path, lambda temporary: canvas.print_png(str(temporary)))
