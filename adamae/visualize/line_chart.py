"""Curves as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

# Okabe and Ito's colours, told apart by most colour-blind people.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a6d00")
_WIDTH, _HEIGHT = 480, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 20, 10, 26
# Positive values that span more than this are drawn on a logarithmic axis.
_SPAN = 30
# More points than pixels only make the page large.
_MOST_POINTS = 600


@dataclass(frozen=True)
class Curve:
    """A line.

    Attributes:
        name: What a pointer over it tells.
        colour: Of SVG.
        points: (x, y) in the order of x.
        dashed: Whether it is only there to compare.
    """

    name: str
    colour: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False


def line_chart(curves: Sequence[Curve]) -> str:
    """An SVG element that takes the width it is given."""
    all_x, all_y = ([point[axis] for curve in curves for point in curve.points] for axis in (0, 1))
    xs = ticks(min(all_x), max(all_x))
    logarithmic = min(all_y) > 0 and max(all_y) > _SPAN * min(all_y)
    scale = math.log10 if logarithmic else float
    ys = decades(min(all_y), max(all_y)) if logarithmic else ticks(min(all_y), max(all_y))
    bottom, top = scale(ys[0]), scale(ys[-1])
    width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        right, up = (x - xs[0]) / (xs[-1] - xs[0]), (scale(y) - bottom) / (top - bottom)
        return round(_LEFT + width * right, 1), round(_TOP + height * (1 - up), 1)

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">']
    for y in ys:
        _, at = place(xs[0], y)
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at}" y2="{at}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{at + 4}" text-anchor="end">{y:g}</text>')
    for x in xs:
        at, _ = place(x, ys[0])
        parts.append(f'<text x="{at}" y="{_HEIGHT - 8}" text-anchor="middle">{x:g}</text>')
    for curve in curves:
        step = -(-len(curve.points) // _MOST_POINTS)
        # The last point is where the run stands.
        points = [*curve.points[:-1:step], curve.points[-1]]
        line = " ".join(f"{x},{y}" for x, y in (place(*point) for point in points))
        dash = ' stroke-dasharray="5 4"' if curve.dashed else ""
        title = f"<title>{escape(curve.name)}, last {curve.points[-1][1]:.5g}</title>"
        parts.append(f'<polyline points="{line}" stroke="{curve.colour}"{dash}>{title}</polyline>')
        if len(points) == 1:
            x, y = place(*points[0])
            parts.append(f'<circle cx="{x}" cy="{y}" r="3" fill="{curve.colour}"/>')
    return "".join([*parts, "</svg>"])


def decades(low: float, high: float) -> list[float]:
    """Powers of ten that cover an interval of positive numbers."""
    return [10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers that cover an interval, at least two."""
    if high <= low:
        margin = abs(low) / 2 or 1.0
        low, high = low - margin, high + margin
    rough = (high - low) / (about - 1)
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]
