"""Build the tables of docs/TABLE1.md from finished pieces."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from compare_pretraining import interval
from paired import answer_enough, answer_near, answer_order, compare, paired_difference
from table1_rows import GROUPS, REAL, ROWS, Claim, Group

from adamae.errors import UserError
from adamae.plain_text import counted

# (kind of piece, row, seed) -> its numbers.
Results = Mapping[tuple[str, str, int], Mapping[str, Any]]
# Margin in points that the primary comparisons must reach.
WANTED_MARGIN = 5.0
# Number of seeds in the plan; later seeds belong to its second amendment.
PLANNED_SEEDS = 10
# Tolerance for "near" and for "not better", in points.
TOLERANCE = 5.0
# Expectations are not published results, so their answers do not say "reproduced".
EXPECTATION_ANSWERS = {
    "reproduced": "came true",
    "not reproduced": "did not come true",
    "not reproduced (the opposite)": "did not come true (the opposite)",
}
UNPLANNED_ANSWERS = {"reproduced": "better", "not reproduced (the opposite)": "worse"}
CONFIRMATION_ANSWERS = {"reproduced": "helps", "not reproduced (the opposite)": "does not help (the opposite)"}


@dataclass(frozen=True)
class Measure:
    """A measure: one column of the tables.

    Attributes:
        title: Head of the column.
        kind: Kind of the pieces that contain the measure.
        name: Key of the number in the pieces.
        scale: Factor by which the number is multiplied.
    """

    title: str
    kind: str
    name: str
    scale: float = 1.0

    def values(self, results: Results, row: str) -> dict[int, float]:
        """Return a row's numbers by seed, without missing ones; errors only for rows whose errors are comparable."""
        if self.name.startswith("moving") and not ROWS[row].plain_error:
            return {}
        found = {
            seed: result[self.name]
            for (kind, name, seed), result in results.items()
            if (kind, name) == (self.kind, row)
        }
        return {seed: self.scale * value for seed, value in sorted(found.items()) if value is not None}


AREA = Measure("mean validation accuracy, %", "tuned", "area")
# The same measure under the original plan, before its amendment.
FIRST_AREA = replace(AREA, kind="finetune")
MEASURES = (
    AREA,
    Measure("test, %", AREA.kind, "test"),
    Measure("steps to 50 %", AREA.kind, "steps_to_50"),
    Measure("attentive probe, %", "probe", "attentive"),
    Measure("linear probe, %", "probe", "linear"),
    Measure("error on moving tokens, x 1000", "reconstruction", "moving_0.9", 1000),
    Measure("hit rate", "reconstruction", "hit_rate"),
)


def report(results: Results, groups: Sequence[str]) -> str:
    """Return the tables of the given groups as Markdown."""
    parts = []
    for key in groups:
        group = GROUPS[key]
        parts += [f"### {group.title}", rows_table(results, group), differences_table(results, group)]
        if group.primary:
            parts += [margins_line(results, group), plan_line(results, group), first_plan_line(results, group)]
        if group.claims:
            parts.append(claims_table(results, group.claims, "in the paper", {}))
        if group.expected:
            parts.append(claims_table(results, group.expected, "expected here", EXPECTATION_ANSWERS))
        if group.unplanned:
            parts.append(claims_table(results, group.unplanned, "in no plan", UNPLANNED_ANSWERS))
        if group.confirmed:
            parts.append(confirmation_table(results, group))
    return "\n\n".join([*filter(None, parts), origins_line(results)])


def measures_of(group: Group) -> tuple[Measure, ...]:
    """Return the measures of a group, the primary one first; rows on real clips are not fine-tuned."""
    real = all(ROWS[name].videos == REAL for name in group.rows)
    return tuple(measure for measure in MEASURES if measure.kind != AREA.kind) if real else MEASURES


def rows_table(results: Results, group: Group) -> str:
    """Build the table of means over seeds with 95 % intervals, with the primary measure seed by seed."""
    measures = measures_of(group)
    heads = ["pre-training", measures[0].title, "seed by seed", *(measure.title for measure in measures[1:])]
    lines = []
    for name in group.rows:
        columns = [measure.values(results, name) for measure in measures]
        seeds = ", ".join(f"{value:.1f}" for value in columns[0].values())
        lines.append([ROWS[name].title, interval([*columns[0].values()]), seeds])
        # A row without pre-training has only fine-tuning results.
        alone = ROWS[name].options is None
        for measure, column in zip(measures[1:], columns[1:], strict=True):
            lines[-1].append("" if alone and measure.kind != AREA.kind else _cell(measure, results, name, column))
    return markdown(heads, lines)


def _cell(measure: Measure, results: Results, name: str, column: Mapping[int, float]) -> str:
    finished = sum((kind, row) == (measure.kind, name) for kind, row, _ in results)
    text = interval([*column.values()]) if column or not finished else ""
    if measure.name == "steps_to_50" and len(column) < finished:
        return f"{text} ({len(column)} of {finished} seeds)" if column else f"not reached in {finished} seeds"
    return text


def differences_table(results: Results, group: Group) -> str:
    """Build the table of paired differences between the group's first row and each other one."""
    first, *others = group.rows
    measures = measures_of(group)
    heads = [f"{ROWS[first].title} minus", "seeds", measures[0].title, "by that figure"]
    heads += [measure.title for measure in measures[1:]]
    lines = []
    for name in others:
        differences = [
            paired_difference(measure.values(results, first), measure.values(results, name)) for measure in measures
        ]
        main = differences[0]
        cells = ["" if each is None else each.render() for each in differences]
        # Steps to 50 % can be compared only for the seeds in which both rows reach it.
        cells = [
            f"{cell} ({counted(each.seeds, 'seed')})" if main and each and each.seeds < main.seeds else cell
            for cell, each in zip(cells, differences, strict=True)
        ]
        lines.append([ROWS[name].title, str(main.seeds if main else 0), cells[0], compare(main), *cells[1:]])
    return markdown(heads, lines)


def margins_line(results: Results, group: Group) -> str:
    """Report the margins of the primary comparisons, and whether they are as small as wanted."""
    first = AREA.values(results, group.rows[0])
    margins = {}
    for name in group.primary:
        difference = paired_difference(first, AREA.values(results, name))
        margins[name] = math.inf if difference is None else difference.margin
    told = ", ".join(f"{ROWS[name].title}: ± {margin:.1f}" for name, margin in margins.items())
    enough = max(margins.values()) <= WANTED_MARGIN
    verdict = "enough seeds" if enough else "one more seed is due"
    return (
        f"Primary comparisons, half width of the interval (at most {WANTED_MARGIN:g} points wanted): {told}: {verdict}."
    )


def plan_line(results: Results, group: Group) -> str:
    """Report the primary comparisons over the plan's seeds only; empty if there are no later seeds."""
    if all(seed < PLANNED_SEEDS for _, _, seed in results):
        return ""
    planned = {key: result for key, result in results.items() if key[2] < PLANNED_SEEDS}
    return f"By the plan's {PLANNED_SEEDS} seeds: {primary_differences(planned, group, AREA)}."


def first_plan_line(results: Results, group: Group) -> str:
    """Report the primary comparisons by fine-tuning under the original plan; empty if there was none."""
    told = primary_differences(results, group, FIRST_AREA)
    return f"By the fine-tuning of the first plan: {told}." if told else ""


def primary_differences(results: Results, group: Group, measure: Measure) -> str:
    """Format the primary comparisons by one measure; empty if there are none."""
    first = measure.values(results, group.rows[0])
    told = []
    for name in group.primary:
        difference = paired_difference(first, measure.values(results, name))
        if difference is not None:
            told.append(f"{ROWS[name].title}: {difference.render()} ({difference.seeds} seeds, {compare(difference)})")
    return ", ".join(told)


def claims_table(results: Results, claims: Sequence[Claim], source: str, answers_as: Mapping[str, str]) -> str:
    """Build the table of claims about pairs of rows, with the difference measured here and the answer.

    Args:
        results: Results of all rows.
        claims: Claims, one for each line of the table.
        source: Source of the claims, the head of the first column.
        answers_as: Replacements for answers.
    """
    lines = []
    for claim in claims:
        difference = paired_difference(AREA.values(results, claim.one), AREA.values(results, claim.other))
        answers = {
            "above": lambda difference=difference: answer_order(difference),
            "near": lambda difference=difference: answer_near(difference, TOLERANCE),
            "enough": lambda difference=difference: answer_enough(difference, TOLERANCE),
        }
        cell = "" if difference is None else difference.render()
        answer = answers[claim.rule]()
        lines.append([claim.text, cell, answers_as.get(answer, answer)])
    return markdown([source, "difference here, points", "answer"], lines)


def confirmation_table(results: Results, group: Group) -> str:
    """Build the table of the rows that the group's seeds chose for further ones, judged by the further seeds alone."""
    first = group.rows[0]
    further = {key: result for key, result in results.items() if key[2] >= group.seeds}
    claims = [Claim(f"{ROWS[name].title} above {ROWS[first].title}", name, first) for name in group.confirmed]
    return claims_table(further, claims, f"by the seeds from {group.seeds} on alone", CONFIRMATION_ANSWERS)


def origins_line(results: Results) -> str:
    """Report the dates, commits, machines and processor time of the pieces."""
    pieces = [*results.values()]
    if not pieces:
        return "Nothing is finished."

    def told(name: str) -> str:
        return "; ".join(sorted({str(piece[name]) for piece in pieces}))

    dates = sorted({piece["date"] for piece in pieces})
    hours = sum(piece["cpu_seconds"] for piece in pieces) / 3600
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    return f"{len(pieces)} pieces, {hours:.1f} processor hours, {when}; commit {told('commit')}; {told('machine')}."


def markdown(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table."""
    rows = [heads, ["---" for _ in heads], *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def renew_document(path: Path, scale: str, text: str) -> None:
    """Replace the text between the markers of a scale.

    Raises:
        UserError: If the document has no such markers.
    """
    before = path.read_text(encoding="utf-8")
    begin, end = f"<!-- measured: table1 {scale} -->\n", "<!-- end of measured -->"
    pattern = re.compile(f"({re.escape(begin)}).*?({re.escape(end)})", re.DOTALL)
    after, count = pattern.subn(lambda found: f"{found[1]}{text}\n{found[2]}", before)
    if count != 1:
        raise UserError(f"{path}: has {count} places between {begin.strip()} and {end}, expected one")
    path.write_text(after, encoding="utf-8")
