"""The harness's command line, its results on disk, and its table."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

from adamae.json_lines import JsonLines
from tests.faults.trial import Result, run_trials
from tests.launching import ROOT

PROMISES = (
    "kill",
    "preemption",
    "another_world",
    "disk",
    "data",
    "numbers",
    "ranks",
    "strangers",
    "load",
    "fuzz",
)
DOCUMENT = ROOT / "docs" / "RELIABILITY.md"
BEGIN, END = "<!-- begin: printed by make faults -->\n", "<!-- end -->"


def main(words: Sequence[str]) -> int:
    """Run the selected trials.

    Returns:
        1 if a trial was lost.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--promises", nargs="+", choices=PROMISES, default=PROMISES)
    parser.add_argument("--scale", type=float, default=1.0, help="fraction of the trials of the whole run (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="of what is broken and when (default: 0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="trials at a time (default: one per core)")
    parser.add_argument("--minutes", type=float, help="start no trial after so many minutes for each promise")
    parser.add_argument("--only", default="", help="trials whose name has this regular expression")
    parser.add_argument("--results", type=Path, help="JSON lines of results; trials that are in it are not run again")
    parser.add_argument("--only_report", action="store_true", help="run nothing: the table of what is in --results")
    parser.add_argument("--write", action="store_true", help="renew the table of docs/RELIABILITY.md")
    options = parser.parse_args(words)
    if options.only_report and options.results is None:
        parser.error("--only_report needs --results")
    results = _kept(options.results) if options.only_report else _run(options)
    text = table(results)
    print(text, end="")
    if options.write:
        _renew(text)
    return int(any(result.reason is not None for result in results))


def _run(options: argparse.Namespace) -> list[Result]:
    # Not a TemporaryDirectory, which every fork would delete at its end.
    shared = Path(tempfile.mkdtemp(prefix="adamae-faults-"))
    try:
        return [
            result
            for name in options.promises
            for result in _results(importlib.import_module(f"tests.faults.{name}"), name, options, shared)
        ]
    finally:
        shutil.rmtree(shared, ignore_errors=True)


def _kept(path: Path) -> list[Result]:
    return [Result(**line) for line in JsonLines(path).read()]


def _results(promise: ModuleType, name: str, options: argparse.Namespace, shared: Path) -> list[Result]:
    kept = JsonLines(options.results) if options.results else None
    known = [result for result in _kept(options.results) if result.promise == name] if kept else []
    _warm()
    trials = [
        trial for trial in promise.trials(options.seed, options.scale, shared) if re.search(options.only, trial.name)
    ]
    done = {result.trial for result in known}
    until = None if options.minutes is None else time.monotonic() + 60 * options.minutes
    left = [trial for trial in trials if trial.name not in done]
    for result in run_trials(name, left, options.jobs, until):
        if kept is not None:
            kept.append([json.loads(result.line())])
        known.append(result)
        if result.reason is not None:
            print(f"lost: {name}: {result.trial}: {result.reason}", flush=True)
    print(f"{name}: {len(known)} of {len(trials)} tried", flush=True)
    return known


def _warm() -> None:
    """Import modules once, so that forks need not import them again."""
    for module in ("adamae.cli.main", "adamae.pretrain", "adamae.finetune", "torch.utils.tensorboard"):
        importlib.import_module(module)


def table(results: Sequence[Result]) -> str:
    """Return a Markdown table of promises with tried, survived and lost trials, the date and the machine."""
    rows = ["| promise | tried | survived | lost |", "|---|---:|---:|---:|"]
    for name in PROMISES:
        of_it = [result for result in results if result.promise == name]
        if of_it:
            lost = sum(result.reason is not None for result in of_it)
            text = importlib.import_module(f"tests.faults.{name}").PROMISE
            rows.append(f"| {text} | {len(of_it)} | {len(of_it) - lost} | {lost} |")
    import torch

    now = datetime.now(tz=UTC)
    machine = (
        f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, torch {torch.__version__}"
    )
    return "\n".join([*rows, "", f"Printed by `make faults` on {now:%Y-%m-%d}: {machine}.", ""])


def _renew(text: str) -> None:
    """Write the table into the document."""
    before, rest = DOCUMENT.read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    DOCUMENT.write_text(f"{before}{BEGIN}{text}{END}{after}", encoding="utf-8")
