"""The confusion matrix as a figure that is legible for ten classes and for four hundred."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

# Above this many classes the cells are too small for numbers.
_MOST_NUMBERS = 20
# Above this many classes only some rows are labelled, and the most frequent mistakes are listed beside the matrix.
_MOST_NAMES = 60
_LISTED = 25
_LONGEST_NAME = 28
_DPI = 120


def draw_confusion(path: Path, confusion: np.ndarray, names: Sequence[str]) -> None:
    """Draw the confusion matrix of true classes (rows) and predicted classes (columns), normalised by row.

    Args:
        path: The PNG file.
        confusion: (C, C) integer counts.
        names: Names of the C classes.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure

    count = len(names)
    totals = confusion.sum(axis=1, keepdims=True)
    shares = confusion / np.maximum(totals, 1)
    short = [name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…" for name in names]
    many = count > _MOST_NAMES
    field = 0.55 if count <= _MOST_NUMBERS else 0.22 if not many else 11.0 / count
    side = max(count * field, 3.0)
    margin = 0.6 + 0.085 * max(map(len, short))
    # At least one pixel per cell.
    figure = Figure(figsize=(side + margin + (5.5 if many else 1.3), side + margin + 0.5), dpi=_DPI)
    FigureCanvasAgg(figure)
    width, height = figure.get_size_inches()
    axes = figure.add_axes((margin / width, margin / height, side / width, side / height))
    # On a linear scale single mistakes would be too pale to see.
    scale = PowerNorm(0.5, vmin=0, vmax=1)
    image = axes.imshow(shares, cmap="Blues", norm=scale, interpolation="nearest", aspect="auto")
    _name_classes(axes, short, many)
    if count <= _MOST_NUMBERS:
        _write_numbers(axes, confusion, shares)
    right, total = int(np.trace(confusion)), int(confusion.sum())
    axes.set_title(f"{right} of {total} correct", fontsize=11)
    axes.set_xlabel("predicted class", fontsize=10)
    axes.set_ylabel("true class", fontsize=10)
    bar = figure.add_axes(((margin + side + 0.15) / width, margin / height, 0.18 / width, side / height))
    figure.colorbar(image, cax=bar, label="fraction of the true class")
    if many:
        text = "\n".join(_worst(confusion, short))
        words = figure.text((margin + side + 1.2) / width, (margin + side) / height, text, fontsize=8, va="top")
        words.set_parse_math(False)
    figure.savefig(path, format="png")


def _name_classes(axes: Any, names: Sequence[str], many: bool) -> None:
    step = -(-len(names) // _MOST_NAMES) if many else 1
    ticks = range(0, len(names), step)
    size = 9 if len(names) <= _MOST_NUMBERS else 7
    shown = [names[tick] for tick in ticks]
    axes.set_xticks(ticks, shown, rotation=90, fontsize=size)
    axes.set_yticks(ticks, shown, fontsize=size)
    axes.tick_params(length=2)
    # A dollar sign in a name must not start a formula.
    for words in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        words.set_parse_math(False)


def _write_numbers(axes: Any, confusion: np.ndarray, shares: np.ndarray) -> None:
    for (row, column), value in np.ndenumerate(confusion):
        if value:
            colour = "white" if shares[row, column] > 0.3 else "black"
            axes.text(column, row, str(value), ha="center", va="center", fontsize=8, color=colour)


def _worst(confusion: np.ndarray, names: Sequence[str]) -> list[str]:
    """Lines that list the most frequent mistakes."""
    wrong = confusion - np.diag(np.diagonal(confusion))
    order = np.argsort(-wrong, axis=None, kind="stable")[:_LISTED]
    rows, columns = np.unravel_index(order, wrong.shape)
    lines = [
        f"{wrong[row, column]:>4}  {names[row]} → {names[column]}"
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
        if wrong[row, column]
    ]
    return ["most frequent mistakes", "", *lines] if lines else ["no mistakes"]
