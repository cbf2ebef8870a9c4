"""``adamae estimate``: what a pre-training run will need, before it is begun."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from adamae.errors import UserError
from adamae.options.estimate import EstimateOptions, estimate_parser

if TYPE_CHECKING:
    from adamae.benchmark.estimate import Estimate

_MOST_CLIPS_ON_CPU = 2


def run(words: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: If options do not make a run, or the hours are asked for and the number of videos is not known.
    """
    options = estimate_parser().parse(words).options
    measurement = options.measurement
    if measurement.hours_per_epoch and measurement.num_videos is None and options.data.data_path is None:
        raise UserError("--hours_per_epoch needs the number of videos: give --data_path or --num_videos")
    estimate, device = _estimate(options.for_processes(measurement.gpus))
    if measurement.hours_per_epoch:
        print(f"{estimate.hours_per_epoch:.4f}")
    elif measurement.json:
        print(json.dumps(estimate.as_dict(), indent=2))
    else:
        print(f"{options.model.model} on {device}, {measurement.gpus} process{'es' * (measurement.gpus > 1)}")
        print(estimate.render())
    return 0


def _estimate(options: EstimateOptions) -> tuple[Estimate, str]:
    """The estimate, and what it was measured on."""
    from adamae import distributed
    from adamae.benchmark.estimate import Estimate, Run, measure_pass
    from adamae.data.loader import choose_workers
    from adamae.models.economy import apply_economy
    from adamae.precision import choose_precision, matmul_dtype
    from adamae.pretrain import build_model
    from adamae.training.schedules import plan_run

    options, measurement = apply_economy(options), options.measurement
    videos, loader_rate = _videos(options)
    device = distributed.start(options.run.device, timeout_seconds=options.run.rendezvous_timeout).device
    precision = choose_precision(options.run.precision, device)
    model, _ = build_model(options)
    clips = measurement.clips_per_pass
    if clips is None:
        clips = min(options.clips_per_pass, _MOST_CLIPS_ON_CPU) if device.type == "cpu" else options.clips_per_pass
    cost = measure_pass(
        model.to(device).train(),
        clips=clips,
        precision=matmul_dtype(precision),
        passes=measurement.passes,
        compiled=options.run.compile,
    )
    plan = plan_run(options, videos, measurement.gpus) if videos else None
    run = Run(
        gpus=measurement.gpus,
        clips_per_pass=options.clips_per_pass,
        passes_per_step=options.passes,
        epochs=options.optimizer.epochs,
        steps_per_epoch=plan.steps_per_epoch if plan else None,
        workers=choose_workers(options.data.num_workers),
    )
    return Estimate(run, cost, loader_rate), f"{device}, {precision}"


def _videos(options: EstimateOptions) -> tuple[int | None, float | None]:
    """How many videos there are, and how many clips one core makes of them in a second; None for what is not known."""
    from adamae.benchmark.loader import measure_loader
    from adamae.pretrain import open_clips

    measurement = options.measurement
    videos, rate = measurement.num_videos, measurement.loader_rate
    if options.data.data_path is None or None not in (videos, rate):
        return videos, rate
    dataset = open_clips(options.data, options.clip, options.run.seed)
    if rate is None:
        report = measure_loader(dataset, num_videos=measurement.loader_videos, batch_size=options.data.batch_size)
        rate = report.clips_per_second_per_core
    return len(dataset) if videos is None else videos, rate
