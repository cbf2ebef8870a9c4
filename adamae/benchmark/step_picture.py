"""What a step costs, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from adamae.errors import UserError
from adamae.files import publish

if TYPE_CHECKING:
    from adamae.benchmark.step import StepReport


def write_step_picture(report: StepReport, path: Path) -> None:
    """Bars of clips per second of all contenders, and of the time that each part of our step takes.

    Args:
        report: What was measured.
        path: PNG file; it is whole or it is not there.

    Raises:
        UserError: If the file cannot be written, or matplotlib is missing.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("--plot needs the package matplotlib: pip install matplotlib") from error

    speeds = {"ours": report.clips_per_second}
    speeds |= {name: other.clips_per_second for name, other in report.compared.items()}
    parts = {name: part.wall * 1e3 for name, part in report.parts.items()}
    figure = Figure(figsize=(10, 1.6 + 0.3 * max(len(speeds), len(parts))), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    figure.suptitle(f"{report.model} on {report.device}, {report.precision}, batch {report.batch_size}")
    columns = figure.subplots(1, 2)
    labels = ("clips per second", "milliseconds of each part, forward and backward")
    for axes, values, label in zip(columns, (speeds, parts), labels, strict=True):
        bars = axes.barh(list(values), list(values.values()), color="#3b528b")
        axes.bar_label(bars, fmt="%.3g", padding=3)
        axes.invert_yaxis()
        axes.margins(x=0.15)
        axes.set_xlabel(label)
    publish(path, lambda temporary: canvas.print_png(str(temporary)))
