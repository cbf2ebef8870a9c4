"""``adamae bench``: time and memory of training steps, and throughput of the data loader and of test views."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from adamae.errors import UserError
from adamae.flags import did_you_mean
from adamae.options.bench import (
    BenchStepOptions,
    bench_eval_parser,
    bench_loader_parser,
    bench_memory_parser,
    bench_step_parser,
)

if TYPE_CHECKING:
    from adamae.benchmark.contenders import BuildContender

_USAGE = """usage: adamae bench SUBJECT [--option value ...]

subjects:
  step     time a training step, or predict it for a GPU, without data
  memory   count the activation memory per clip; nothing is executed
  loader   measure the throughput of the data loader on a list
  eval     measure the throughput of test views of a list

examples:
  adamae bench step --model adamae_base --batch_size 2
  adamae bench loader train.csv --num_workers 2
  adamae bench eval test.csv

adamae bench SUBJECT --help lists the options.
"""


def run(words: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: If the subject is unknown, or its options are inconsistent.
    """
    subjects = {
        "step": _step,
        "loader": _loader,
        "eval": _eval,
        "memory": _memory,
    }
    if not words or words[0] in ("-h", "--help"):
        print(_USAGE, end="")
        return 0
    if words[0] not in subjects:
        hint = did_you_mean(words[0], subjects) or f": expected one of {', '.join(subjects)}"
        raise UserError(f"adamae bench: unknown subject {words[0]!r}{hint}")
    subjects[words[0]](words[1:])
    return 0


def _step(words: Sequence[str]) -> None:
    measure_step(bench_step_parser().parse(words).options)


def measure_step(options: BenchStepOptions, contenders: Mapping[str, BuildContender] | None = None) -> None:
    """Measure a step, print the report, and write the chart of ``--plot``.

    Args:
        options: All options.
        contenders: See :func:`~adamae.bench.bench_step`.

    Raises:
        UserError: As :func:`~adamae.bench.bench_step`, or if the chart cannot be written: before the measurement, or
            after the report is printed.
    """
    measurement = options.measurement
    plot = None if measurement.plot is None else Path(measurement.plot)
    from adamae.bench import bench_step
    from adamae.files import check_writable

    if plot is not None:
        check_writable(plot)
    report = bench_step(options, contenders)
    print(json.dumps(report.as_dict(), indent=2) if measurement.json else report.render())
    if plot is not None:
        from adamae.benchmark.step_picture import write_step_picture

        write_step_picture(report, plot)


def _memory(words: Sequence[str]) -> None:
    options = bench_memory_parser().parse(words).options
    from adamae.bench import bench_memory
    from adamae.benchmark.memory_table import render

    table = bench_memory(options)
    print(json.dumps(table, indent=2) if options.measurement.json else render(table))


def _loader(words: Sequence[str]) -> None:
    # The list may be the first argument, without the option's name.
    named = ["--data_path", *words] if words and not words[0].startswith("-") else words
    options = bench_loader_parser().parse(named).options
    from adamae.bench import bench_loader

    report = bench_loader(options)
    print(json.dumps(asdict(report), indent=2) if options.measurement.json else report.render())


def _eval(words: Sequence[str]) -> None:
    options = bench_eval_parser().parse(words).options
    from adamae.bench import bench_eval

    report = bench_eval(options)
    print(json.dumps(report.as_dict(), indent=2) if options.measurement.json else report.render())
