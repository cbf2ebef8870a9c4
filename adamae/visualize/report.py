"""Report that compares runs on one page: curves of their logs, differing options, final metrics."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from adamae.errors import UserError
from adamae.options.record import FILE_NAME
from adamae.options.yaml_files import read_mapping
from adamae.plain_text import one_line
from adamae.visualize.line_chart import COLOURS, Curve, line_chart

Record = dict[str, Any]
# Title of a chart -> (kind of log line, names of its values); the second one is dashed.
CHARTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "Loss": ("step", ("loss",)),
    "Reconstruction, and the trivial predictor (dashed)": ("step", ("reconstruction", "trivial")),
    "Sampling loss": ("step", ("sampling",)),
    "Entropy of the sampler (1: uniform)": ("step", ("entropy",)),
    "Fraction of visible tokens in the most probable tenth (0.1: uniform)": ("step", ("top_tenth",)),
    "Hit rate (1: uniform sampling)": ("step", ("hit_rate",)),
    "Top-1 accuracy on the validation list": ("epoch", ("val_top1",)),
    "Gradient norm": ("step", ("grad_norm",)),
    "Learning rate": ("step", ("lr",)),
    "Clips per second": ("step", ("clips_per_second",)),
    "Fraction of time spent waiting for data": ("step", ("data_wait",)),
}
# Values of the last complete epoch in the table, and values of an evaluation.
LAST = (
    *("step", "epoch", "loss", "reconstruction", "trivial", "entropy", "hit_rate", "accuracy"),
    *("val_top1", "best_val_top1", "clips_per_second", "skipped"),
)
SCORES = ("top1", "top5", "mean_class", "videos")
# Options that identify the run itself and are not compared.
_OF_THE_RUN = ("output_dir", "log_dir")


@dataclass(frozen=True)
class RunLog:
    """Log, options and scores of a run.

    Attributes:
        name: Name of the run on the page.
        records: Lines of its log.
        options: All its options; empty if they are missing.
        scores: Test scores by the name of their folder.
    """

    name: str
    records: list[Record]
    options: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Record] = field(default_factory=dict)


def read_run(folder: str | Path) -> RunLog:
    """Read a run's output folder.

    Raises:
        UserError: If the folder has no log, or a file in it cannot be read.
    """
    directory = Path(folder)
    path = directory / "log.jsonl"
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise UserError(f"{folder}: has no log.jsonl ({error.strerror}); expected the output folder of a run") from None
    records = [record for record in map(_parsed, lines) if record is not None]
    if not records:
        raise UserError(f"{path}: contains no complete line, expected the log of a run")
    options = read_mapping(directory / FILE_NAME) if (directory / FILE_NAME).is_file() else {}
    scores = {}
    for found in filter(Path.is_file, sorted(directory.glob("**/scores.json"))):
        try:
            record = _parsed(found.read_text(encoding="utf-8", errors="replace"))
        except OSError as error:
            raise UserError(f"{found}: cannot be read: {error.strerror}") from None
        if record is not None:
            scores[one_line(str(found.parent.relative_to(directory)))] = record
    return RunLog(one_line(str(folder)), records, options, scores)


def _parsed(line: str) -> Record | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def report_page(runs: Sequence[RunLog]) -> str:
    """Return the page, one HTML file without scripts."""
    charts = [_chart(title, kind, names, runs) for title, (kind, names) in CHARTS.items()]
    legend = "".join(
        f'<li><i style="background:{COLOURS[number % len(COLOURS)]}"></i>{escape(run.name)}</li>'
        for number, run in enumerate(runs)
    )
    style = (files("adamae.visualize") / "page" / "report.css").read_text(encoding="utf-8")
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">',
            f"<title>Runs</title>\n<style>{style}</style>\n</head>\n<body>\n<h1>Runs</h1>",
            f'<ul class="legend">{legend}</ul>',
            "<h2>Final metrics</h2>",
            _table("", runs, _last_rows(runs)),
            *(["<h2>Test scores</h2>", _table("", runs, _score_rows(runs))] if any(run.scores for run in runs) else []),
            "<h2>Differing options</h2>" if len(runs) > 1 else "<h2>Options</h2>",
            _table("option", runs, _option_rows(runs)),
            "<h2>Curves</h2>",
            f'<div class="charts">{"".join(filter(None, charts))}</div>',
            "</body>\n</html>\n",
        ]
    )


def _chart(title: str, kind: str, names: Sequence[str], runs: Sequence[RunLog]) -> str:
    curves = []
    for number, run in enumerate(runs):
        for name in names:
            points = [
                (record["step"], record[name])
                for record in run.records
                if record.get("kind") == kind and _is_number(record.get(name)) and _is_number(record.get("step"))
            ]
            if points:
                label = f"{run.name}: {name}"
                curves.append(Curve(label, COLOURS[number % len(COLOURS)], points, dashed=name != names[0]))
    return f"<figure><figcaption>{escape(title)}</figcaption>{line_chart(curves)}</figure>" if curves else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _last_rows(runs: Sequence[RunLog]) -> list[tuple[str, list[Any]]]:
    last = [_last_record(run) for run in runs]

    rows = [(name, [record.get(name) for record in last]) for name in LAST]
    return [(name, values) for name, values in rows if any(value is not None for value in values)]


def _last_record(run: RunLog) -> Mapping[str, Any]:
    """Record of the last complete epoch, or of the last step without one."""
    return next((record for record in reversed(run.records) if record.get("kind") == "epoch"), run.records[-1])


def _score_rows(runs: Sequence[RunLog]) -> list[tuple[str, list[Any]]]:
    folders = dict.fromkeys(folder for run in runs for folder in run.scores)
    return [
        (f"{folder}: {name}", [run.scores.get(folder, {}).get(name) for run in runs])
        for folder in folders
        for name in SCORES
    ]


def _option_rows(runs: Sequence[RunLog]) -> list[tuple[str, list[Any]]]:
    names = dict.fromkeys(name for run in runs for name in run.options if name not in _OF_THE_RUN)
    rows = [(f"--{name}", [run.options.get(name, "") for run in runs]) for name in names]
    return [(name, values) for name, values in rows if len(runs) == 1 or any(value != values[0] for value in values)]


def _table(corner: str, runs: Sequence[RunLog], rows: Sequence[tuple[str, Sequence[Any]]]) -> str:
    if not rows:
        return "<p>None.</p>"
    cell: Callable[[str, str], str] = "<{0}>{1}</{0}>".format
    head = "".join(cell("th", escape(text)) for text in (corner, *(run.name for run in runs)))
    body = "".join(
        f"<tr>{cell('td', escape(name))}{''.join(cell('td', escape(_shown(value))) for value in values)}</tr>"
        for name, values in rows
    )
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.5g}" if isinstance(value, float) else one_line(str(value))
