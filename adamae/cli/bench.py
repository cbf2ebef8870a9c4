"""``adamae bench``: time and memory of training steps, and throughput of the data loader and of test views."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adamae.errors import UserError
from adamae.flags import did_you_mean
from adamae.gpu_specs import GPUS
from adamae.options.bench import (
    BenchStepOptions,
    StepMeasurement,
    bench_eval_parser,
    bench_loader_parser,
    bench_memory_parser,
    bench_step_parser,
)
from adamae.options.pretrain import model_arguments

if TYPE_CHECKING:
    from adamae.benchmark.contenders import BuildContender
    from adamae.benchmark.roofline import Prediction
    from adamae.benchmark.step import StepReport

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
        "step": measure_step,
        "loader": measure_list,
        "eval": measure_eval,
        "memory": count_memory,
    }
    if not words or words[0] in ("-h", "--help"):
        print(_USAGE, end="")
        return 0
    if words[0] not in subjects:
        hint = did_you_mean(words[0], subjects) or f": expected one of {', '.join(subjects)}"
        raise UserError(f"adamae bench: unknown subject {words[0]!r}{hint}")
    print(subjects[words[0]](words[1:]))
    return 0


def measure_step(words: Sequence[str]) -> str:
    """Run ``adamae bench step`` and return its output.

    Raises:
        UserError: If options are inconsistent, a name to compare with is unknown, or the chart cannot be written.
    """
    options = bench_step_parser().parse(words).options
    from adamae.benchmark.contenders import choose, variants

    report = report_step(options, choose(options.measurement.compare or (), variants()))
    return printed(report, options.measurement)


def report_step(options: BenchStepOptions, compare: Mapping[str, BuildContender]) -> StepReport | Prediction:
    """Measure or predict the step that the options describe.

    Args:
        options: Options of the model, the clip and the measurement.
        compare: Contenders by name.

    Raises:
        UserError: If options are inconsistent, or a contender cannot be built.
    """
    from adamae import distributed
    from adamae.benchmark.step import benchmark_step
    from adamae.models.economy import apply_economy
    from adamae.precision import choose_precision

    options, measurement = apply_economy(options), options.measurement
    arguments = model_arguments(options.clip, options.model, options.sampler, options.loss)
    step: dict[str, Any] = {
        "model": options.model.model,
        "batch_size": measurement.batch_size,
        "compare": compare,
        "compile_model": measurement.compile,
    }
    if measurement.predict is not None:
        from adamae.benchmark.roofline import predict_steps

        gpu = GPUS[measurement.predict]
        precision = gpu.best_half if measurement.precision == "auto" else measurement.precision
        return predict_steps(**step, gpu=gpu, precision=precision, **arguments)
    device = distributed.start(measurement.device).device
    precision = choose_precision(measurement.precision, device)
    return benchmark_step(**step, precision=precision, device=str(device), rounds=measurement.rounds, **arguments)


def printed(report: StepReport | Prediction, measurement: StepMeasurement) -> str:
    """Format the report, and write the chart of ``--plot``.

    Raises:
        UserError: If the chart cannot be written.
    """
    if measurement.plot is not None:
        from adamae.benchmark.step_picture import write_step_picture

        write_step_picture(report, Path(measurement.plot))
    return json.dumps(report.as_dict(), indent=2) if measurement.json else report.render()


def count_memory(words: Sequence[str]) -> str:
    """Run ``adamae bench memory`` and return its output.

    Raises:
        UserError: If sizes are not divisible.
    """
    options = bench_memory_parser().parse(words).options
    from adamae.benchmark.memory_table import memory_table, render
    from adamae.models.economy import apply_economy

    modes = {}
    for mode, economy in (("full", False), ("economy", True)):
        some = apply_economy(replace(options, model=replace(options.model, economy=economy)))
        modes[mode] = model_arguments(some.clip, some.model, some.sampler, some.loss)
    table = memory_table(options.model.model, modes)
    return json.dumps(table, indent=2) if options.measurement.json else render(table)


def measure_list(words: Sequence[str]) -> str:
    """Run ``adamae bench loader`` and return its output.

    Raises:
        UserError: If the list does not exist, or none of the videos can be read.
    """
    # The list may be the first argument, without the option's name.
    named = ["--data_path", *words] if words and not words[0].startswith("-") else words
    options = bench_loader_parser().parse(named).options
    from adamae.benchmark.loader import measure_loader
    from adamae.data.loader import choose_workers
    from adamae.pretrain import open_clips

    measurement = options.measurement
    dataset = open_clips(options.data, options.clip)
    report = measure_loader(
        dataset,
        num_videos=measurement.num_videos,
        batch_size=options.data.batch_size,
        num_workers=choose_workers(options.data.num_workers),
        gpu_rate=measurement.gpu_rate,
    )
    return json.dumps(asdict(report), indent=2) if measurement.json else report.render()


def measure_eval(words: Sequence[str]) -> str:
    """Run ``adamae bench eval`` and return its output.

    Raises:
        UserError: If the list does not exist, or none of the videos can be read.
    """
    options = bench_eval_parser().parse(words).options
    from adamae.benchmark.views import measure_views
    from adamae.data.annotations import load_annotations
    from adamae.data.image_files import image_files_for
    from adamae.data.views import plan_test

    views = options.views
    plan = plan_test(
        num_frames=views.num_frames,
        sampling_rate=views.sampling_rate,
        size=views.input_size,
        frame_sampling=views.frame_sampling,
        num_clips=views.test_num_segment,
        num_crops=views.test_num_crop,
    )
    annotations = load_annotations(
        options.data.data_path,
        data_root=options.data.data_root,
        split="test",
        image_files=image_files_for(views.num_frames),
    )
    measurement = options.measurement
    report = measure_views(annotations, plan, num_videos=measurement.num_videos, decoder=measurement.decoder)
    return json.dumps(report.as_dict(), indent=2) if measurement.json else report.render()
