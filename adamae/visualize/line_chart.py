"""Line charts as inline SVG, drawn by matplotlib in the colours of the surrounding page."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

# Colour palette of Okabe and Ito for colour-blind readers.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a6d00")
_INCHES = (4.8, 2.6)
# Ratio of positive values above which the axis is logarithmic.
_SPAN = 30
# Placeholders for the page's own colours, which depend on light or dark mode.
_LINE, _FAINT = "#010203", "#010204"
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    # Round numbers at both ends of the axes.
    "axes.autolimit_mode": "round_numbers",
    "axes.xmargin": 0,
    "axes.ymargin": 0,
    "axes.edgecolor": _LINE,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.subplot.left": 0.12,
    "figure.subplot.right": 0.96,
    "figure.subplot.bottom": 0.12,
    "figure.subplot.top": 0.95,
    # Font for matplotlib's layout; the page uses its own.
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "grid.color": _LINE,
    "lines.linewidth": 1.4,
    "xtick.color": _LINE,
    "xtick.labelcolor": _FAINT,
    "ytick.left": False,
    "ytick.labelcolor": _FAINT,
    "ytick.minor.left": False,
}


@dataclass(frozen=True)
class Curve:
    """A curve of the chart.

    Attributes:
        name: Tooltip of the curve.
        colour: SVG colour.
        points: (x, y) in ascending order of x.
        dashed: Whether it is a reference, drawn dashed.
    """

    name: str
    colour: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False


def line_chart(curves: Sequence[Curve]) -> str:
    """Return an SVG element that scales to the available width.

    Lines and text have the colours ``var(--line)`` and ``var(--faint)`` of the page.
    """
    import matplotlib
    from matplotlib.figure import Figure

    values = [y for curve in curves for _, y in curve.points]
    file = io.StringIO()
    # The ids of the chart's parts must differ from those of other charts on the page.
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": repr([curve.name for curve in curves])}):
        figure = Figure(figsize=_INCHES)
        axes = figure.subplots()
        for number, curve in enumerate(curves):
            x, y = zip(*curve.points, strict=True)
            # A single point has no line, so it gets a marker.
            style = "--" if curve.dashed else "-"
            axes.plot(x, y, style, color=curve.colour, marker="o" if len(x) == 1 else "", ms=4, gid=f"curve-{number}")
        axes.locator_params(nbins=6)
        if min(values) > 0 and max(values) > _SPAN * min(values):
            axes.set_yscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_major_formatter("{x:g}")
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return _inlined(file.getvalue(), curves)


def _inlined(document: str, curves: Sequence[Curve]) -> str:
    """Return the SVG element of a file with the page's colours and a title for each curve, without ids of groups."""
    svg = document[document.index("<svg") :].replace(_LINE, "var(--line)").replace(_FAINT, "var(--faint)")
    # Remove what only a file needs: metadata, a style that would apply to the complete page, XML namespaces.
    svg = re.sub(r"<(metadata|style).*?</\1>| xmlns(:\w+)?=\"[^\"]*\"", "", svg, flags=re.DOTALL)
    for number, curve in enumerate(curves):
        title = f"<title>{escape(curve.name)}, last {curve.points[-1][1]:.5g}</title>"
        svg = svg.replace(f'<g id="curve-{number}">', f"<g>{title}", 1)
    return re.sub(r'<g id="[^"]*"', "<g", svg).replace("<svg ", '<svg role="img" ', 1)
