"""``adamae estimate``: estimate the memory and time of a pre-training run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from adamae.errors import UserError
from adamae.gpu_specs import GPUS
from adamae.options.estimate import EstimateOptions, estimate_parser
from adamae.progress import say

if TYPE_CHECKING:
    from adamae.benchmark.distribution import Distribution
    from adamae.benchmark.estimate import Estimate, PassCost
    from adamae.models import Pretrainer

_MOST_CLIPS_ON_CPU = 2
# DeepSpeed's default, which it also uses for stage 0.
_DEEPSPEED_BUCKET = 500_000_000


def run(words: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: If the options are invalid, or the hours are requested and the number of videos is unknown.
    """
    parsed = estimate_parser().parse(words)
    options = parsed.options
    measurement = options.measurement
    if measurement.hours_per_epoch and measurement.num_videos is None and options.data.data_path is None:
        raise UserError("--hours_per_epoch needs the number of videos or images: give --data_path or --num_videos")
    say(*(f"note: {note}" for note in parsed.notes))
    estimate, device = _estimate(options.for_processes(measurement.processes))
    if measurement.hours_per_epoch:
        print(f"{estimate.hours_per_epoch:.4f}")
    elif measurement.json:
        print(json.dumps(estimate.as_dict(), indent=2))
    else:
        print(f"{options.model.model} on {device}, {measurement.processes} process{'es' * (measurement.processes > 1)}")
        print(estimate.render())
    return 0


def _estimate(options: EstimateOptions) -> tuple[Estimate, str]:
    """Return the estimate and a description of the device."""
    from adamae.benchmark.estimate import Estimate, Run
    from adamae.data.loader import choose_workers
    from adamae.models.economy import apply_economy
    from adamae.pretrain import build_model
    from adamae.training.schedules import plan_run

    options, measurement = apply_economy(options), options.measurement
    videos, loader_rate = _videos(options)
    # Invalid runs are refused before minutes of measurements.
    plan = plan_run(options, videos, measurement.processes) if videos else None
    model, _ = build_model(options)
    cost, where = _predicted(options) if measurement.predict is not None else _measured(options, model)
    run = Run(
        gpus=measurement.processes,
        clips_per_pass=options.clips_per_pass,
        passes_per_step=options.passes,
        epochs=plan.epochs_at(plan.last_step) if plan else options.optimizer.epochs,
        steps_per_epoch=plan.steps_per_epoch if plan else None,
        workers=choose_workers(options.data.num_workers, measurement.gpus),
    )
    return Estimate(run, cost, loader_rate, _distribution(options, model)), where


def _measured(options: EstimateOptions, model: Pretrainer) -> tuple[PassCost, str]:
    from adamae import distributed
    from adamae.benchmark.estimate import measure_pass
    from adamae.precision import choose_precision, matmul_dtype

    measurement = options.measurement
    device = distributed.start(options.run.device, timeout_seconds=options.run.rendezvous_timeout).device
    precision = choose_precision(options.run.precision, device)
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
    return cost, f"{device}, {precision}"


def _predicted(options: EstimateOptions) -> tuple[PassCost, str]:
    from adamae.benchmark.estimate import predict_pass
    from adamae.options.pretrain import model_arguments

    assert options.measurement.predict is not None
    gpu = GPUS[options.measurement.predict]
    precision = gpu.best_half if options.run.precision == "auto" else options.run.precision
    cost = predict_pass(
        options.model.model,
        gpu=gpu,
        clips=options.measurement.clips_per_pass or options.clips_per_pass,
        precision=precision,
        compiled=options.run.compile,
        recompute=options.run.checkpoint_activations,
        arguments=model_arguments(options.clip, options.model, options.sampler, options.loss),
    )
    return cost, f"{gpu.title} (predicted), {precision}"


def _distribution(options: EstimateOptions, model: Pretrainer) -> Distribution:
    from adamae.benchmark.distribution import Distribution, ddp_buckets, deepspeed_buckets
    from adamae.training.engines import choose_engine

    processes, stage, bucket = options.measurement.processes, 0, _DEEPSPEED_BUCKET
    parameters = [one.numel() for one in model.parameters() if one.requires_grad]
    buckets = ddp_buckets(parameters)
    if choose_engine(options.run.engine, processes) == "deepspeed":
        from adamae.training.deepspeed import read_config

        zero = read_config(options.run.deepspeed_file).get("zero_optimization", {})
        stage = zero.get("stage", 0)
        bucket = int(zero.get("reduce_bucket_size", bucket)) if stage else bucket
        buckets = deepspeed_buckets(parameters, bucket)
    return Distribution(
        parameters=sum(parameters),
        buffers=sum(one.nbytes for one in model.buffers()),
        processes=processes,
        nodes=options.measurement.nodes,
        zero_stage=stage,
        bucket=bucket,
        buckets=buckets,
        passes=options.passes,
    )


def _videos(options: EstimateOptions) -> tuple[int | None, float | None]:
    """Return the number of videos, and the clips per second that one core of the loader makes; None if unknown."""
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
