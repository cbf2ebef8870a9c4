"""``adamae bench step``: how long a training step takes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adamae.options.bench import BenchStepOptions, StepMeasurement, bench_step_parser
from adamae.options.pretrain import model_arguments

if TYPE_CHECKING:
    from adamae.benchmark.contenders import BuildContender
    from adamae.benchmark.step import StepReport


def measure_step(words: Sequence[str]) -> str:
    """What ``adamae bench step`` prints.

    Raises:
        UserError: If options do not fit together, a name to compare with is unknown, or the chart cannot be written.
    """
    options = bench_step_parser().parse(words).options
    from adamae.benchmark.contenders import choose, variants

    report = report_step(options, choose(options.measurement.compare or (), variants()))
    return printed(report, options.measurement)


def report_step(options: BenchStepOptions, compare: Mapping[str, BuildContender]) -> StepReport:
    """Measure the step that the options describe.

    Args:
        options: Of the model, the clip and the measurement.
        compare: Contenders by name.

    Raises:
        UserError: If options do not fit together, or a contender cannot be built.
    """
    from adamae import distributed
    from adamae.benchmark.step import benchmark_step
    from adamae.models.economy import apply_economy
    from adamae.precision import choose_precision

    options, measurement = apply_economy(options), options.measurement
    device = distributed.start(measurement.device).device
    return benchmark_step(
        model=options.model.model,
        batch_size=measurement.batch_size,
        precision=choose_precision(measurement.precision, device),
        device=str(device),
        rounds=measurement.rounds,
        compare=compare,
        compile_model=measurement.compile,
        **model_arguments(options.clip, options.model, options.sampler, options.loss),
    )


def printed(report: StepReport, measurement: StepMeasurement) -> str:
    """The report as the options ask for it; ``--plot`` is written.

    Raises:
        UserError: If the chart cannot be written.
    """
    if measurement.plot is not None:
        from adamae.benchmark.step_picture import write_step_picture

        write_step_picture(report, Path(measurement.plot))
    return json.dumps(report.as_dict(), indent=2) if measurement.json else report.render()
