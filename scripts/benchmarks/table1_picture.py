"""Draw the figure of docs/TABLE1.md: validation curves, and paired differences seed by seed."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from paired import paired_difference
from table1_report import AREA, Results
from table1_rows import ROWS, Group

from adamae.visualize.line_chart import COLOURS

_FIRST = "#000000"


def group_picture(results: Results, group: Group) -> Figure | None:
    """Draw the figure of one group; return None if no row has been fine-tuned.

    Left: validation accuracy after each epoch of fine-tuning, thin lines for seeds and a thick line for their mean.
    Right: the primary measure of the group's first row minus that of each other row, with a dot for each seed, their
    mean and, for three or more seeds, its 95 % interval.
    """
    colours = dict(zip(group.rows, (_FIRST, *COLOURS), strict=False))
    curves = {name: curves_of(results, name) for name in group.rows}
    curves = {name: found for name, found in curves.items() if found}
    if not curves:
        return None
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
    _draw_curves(left, curves, colours)
    _draw_differences(right, results, group, colours)
    return figure


def curves_of(results: Results, name: str) -> list[list[float]]:
    """Return the validation accuracy in percent after each epoch, for every finished seed of a row."""
    found = {seed: result["curve"] for (kind, row, seed), result in results.items() if (kind, row) == (AREA.kind, name)}
    return [found[seed] for seed in sorted(found)]


def _draw_curves(axes: Axes, curves: dict[str, list[list[float]]], colours: dict[str, str]) -> None:
    for name, seeds in curves.items():
        epochs = range(1, len(seeds[0]) + 1)
        for seed in seeds:
            axes.plot(epochs, seed, color=colours[name], linewidth=0.6, alpha=0.3)
        mean = [sum(values) / len(seeds) for values in zip(*seeds, strict=True)]
        axes.plot(epochs, mean, color=colours[name], linewidth=2, label=_with_seeds(name, len(seeds)))
    axes.set(xlabel="epochs of fine-tuning", ylabel="validation accuracy, %", ylim=(0, 100))
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)


def _with_seeds(name: str, count: int) -> str:
    return f"{ROWS[name].title} ({count} seed{'s' * (count > 1)})"


def _draw_differences(axes: Axes, results: Results, group: Group, colours: dict[str, str]) -> None:
    first, *others = group.rows
    of_first = AREA.values(results, first)
    for place, name in enumerate(others):
        of_other = AREA.values(results, name)
        difference = paired_difference(of_first, of_other)
        if difference is None:
            continue
        seeds = [of_first[seed] - of_other[seed] for seed in of_first.keys() & of_other.keys()]
        axes.plot(seeds, [place] * len(seeds), "o", color=colours[name], alpha=0.4, markersize=5)
        # The interval of two seeds is so wide that it would dominate the plot.
        margin = difference.margin if difference.seeds > 2 else None
        axes.errorbar(difference.mean, place, xerr=margin, fmt="D", color=colours[name], capsize=4, markersize=6)
    axes.axvline(0, color="0.6", linewidth=0.8)
    _label_rows(axes, [ROWS[name].title for name in others])
    axes.set(xlabel=f"difference of the {AREA.title.removesuffix(', %')}, points\n{ROWS[first].title} minus the other")
    axes.spines[["top", "right", "left"]].set_visible(False)


def _label_rows(axes: Axes, titles: Sequence[str]) -> None:
    """Label the y axis with the rows, the first on top."""
    axes.set_yticks(range(len(titles)), titles)
    axes.tick_params(left=False)
    axes.set_ylim(len(titles) - 0.5, -0.5)
