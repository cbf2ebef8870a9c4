"""``adamae bench``: what a step costs, and how fast clips and test views come."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from adamae.cli.bench_eval import measure_eval
from adamae.cli.bench_loader import measure_list
from adamae.cli.bench_scaling import count_memory, measure_growth
from adamae.errors import UserError
from adamae.flags import did_you_mean
from adamae.options.bench import bench_step_parser
from adamae.options.pretrain import model_arguments

_USAGE = """usage: adamae bench SUBJECT [--option value ...]

subjects:
  step     time a training step and its parts; no videos are needed
  memory   count what a further clip keeps for the backward pass; nothing is run
  scaling  how a step's cost grows with frames, size, masking ratio and width
  loader   time the way of a list's videos to batches
  eval     time the way of a list's videos to test views

examples:
  adamae bench step --model adamae_base --batch_size 2
  adamae bench loader train.csv --num_workers 2 --reference
  adamae bench eval test.csv

adamae bench SUBJECT --help tells every option.
"""


def run(words: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: If the subject is unknown, or its options do not fit together.
    """
    subjects = {
        "step": _step,
        "loader": measure_list,
        "eval": measure_eval,
        "scaling": measure_growth,
        "memory": count_memory,
    }
    if not words or words[0] in ("-h", "--help"):
        print(_USAGE, end="")
        return 0
    if words[0] not in subjects:
        hint = did_you_mean(words[0], subjects) or f": expected one of {', '.join(subjects)}"
        raise UserError(f"adamae bench cannot measure {words[0]!r}{hint}")
    print(subjects[words[0]](words[1:]))
    return 0


def _step(words: Sequence[str]) -> str:
    options = bench_step_parser().parse(words).options
    from adamae import distributed
    from adamae.benchmark.step import benchmark_step
    from adamae.models.economy import apply_economy
    from adamae.precision import choose_precision

    options, measurement = apply_economy(options), options.measurement
    device = distributed.start(measurement.device).device
    report = benchmark_step(
        model=options.model.model,
        batch_size=measurement.batch_size,
        precision=choose_precision(measurement.precision, device),
        device=str(device),
        rounds=measurement.rounds,
        compare=(*(measurement.compare or ()), *(("peer",) if measurement.peer else ())),
        compile_model=measurement.compile,
        **model_arguments(options.clip, options.model, options.sampler, options.loss),
    )
    if measurement.plot is not None:
        from adamae.benchmark.step_picture import write_step_picture

        write_step_picture(report, Path(measurement.plot))
    return json.dumps(report.as_dict(), indent=2) if measurement.json else report.render()
