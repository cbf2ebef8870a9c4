"""Estimate of the memory, throughput and hours of a pre-training run.

from adamae.estimate import estimate
from adamae.options.estimate import EstimateOptions

run = estimate(EstimateOptions.of("adamae_ssv2_base", data_path="ssv2/train.csv", gpus=8))
print(run.hours, run.limit)
"""

from __future__ import annotations

from adamae import distributed
from adamae.benchmark.distribution import Distribution, ddp_buckets, deepspeed_buckets
from adamae.benchmark.estimate import Estimate, PassCost, RunSize, measure_pass, predict_pass
from adamae.benchmark.loader import measure_loader
from adamae.data.loader import choose_workers
from adamae.gpu_specs import GPUS
from adamae.models import Pretrainer
from adamae.models.economy import apply_economy
from adamae.options.estimate import EstimateOptions
from adamae.options.pretrain import model_arguments
from adamae.precision import choose_precision, matmul_dtype
from adamae.pretrain import build_model, open_clips
from adamae.training.engines import choose_engine
from adamae.training.schedules import plan_run

_MOST_CLIPS_ON_CPU = 2
# DeepSpeed's default, which it also uses for stage 0.
_DEEPSPEED_BUCKET = 500_000_000


def estimate(options: EstimateOptions) -> Estimate:
    """Estimate a pre-training run from a few passes on this machine, or from a prediction for a GPU.

    Args:
        options: All options of the run and of the estimate; ``json`` and ``hours_per_epoch`` have no effect.

    Returns:
        The estimate; its hours are None if neither a list nor the number of videos is given.

    Raises:
        UserError: If the options are invalid, the list is too short for a step, or none of its videos can be read.
    """
    measurement = options.measurement
    options = apply_economy(options.for_processes(measurement.processes))
    videos, loader_rate = _videos(options)
    # Invalid runs are refused before minutes of measurements.
    plan = plan_run(options, videos, measurement.processes) if videos else None
    model, _ = build_model(options)
    cost, device = _predicted(options) if measurement.predict is not None else _measured(options, model)
    run = RunSize(
        gpus=measurement.processes,
        clips_per_pass=options.clips_per_micro_batch,
        passes_per_step=options.accumulation,
        epochs=plan.epochs_at(plan.last_step) if plan else options.optimizer.epochs,
        steps_per_epoch=plan.steps_per_epoch if plan else None,
        workers=choose_workers(options.data.num_workers, measurement.gpus),
    )
    return Estimate(run, cost, loader_rate, _distribution(options, model), device)


def _measured(options: EstimateOptions, model: Pretrainer) -> tuple[PassCost, str]:
    """Measure a pass on this machine; return its cost, and the device with the precision."""
    measurement = options.measurement
    with distributed.start(options.run.device, timeout_seconds=options.run.rendezvous_timeout) as world:
        device = world.device
    precision = choose_precision(options.run.precision, device)
    clips = measurement.clips_per_pass
    if clips is None:
        clips = options.clips_per_micro_batch
        if device.type == "cpu":
            clips = min(clips, _MOST_CLIPS_ON_CPU)
    cost = measure_pass(
        model.to(device).train(),
        clips=clips,
        precision=matmul_dtype(precision),
        passes=measurement.passes,
        compiled=options.run.compile,
    )
    return cost, f"{device}, {precision}"


def _predicted(options: EstimateOptions) -> tuple[PassCost, str]:
    """Predict a pass on a GPU; return its cost, and the GPU with the precision."""
    assert options.measurement.predict is not None
    gpu = GPUS[options.measurement.predict]
    precision = gpu.best_half if options.run.precision == "auto" else options.run.precision
    cost = predict_pass(
        options.model.model,
        gpu=gpu,
        clips=options.measurement.clips_per_pass or options.clips_per_micro_batch,
        precision=precision,
        compiled=options.run.compile,
        recompute=options.run.checkpoint_activations,
        arguments=model_arguments(options.clip, options.model, options.sampler, options.loss),
    )
    return cost, f"{gpu.title} (predicted), {precision}"


def _distribution(options: EstimateOptions, model: Pretrainer) -> Distribution:
    """Return what each process holds and exchanges with the engine of the run."""
    processes, stage, bucket = options.measurement.processes, 0, _DEEPSPEED_BUCKET
    parameters = [one.numel() for one in model.parameters() if one.requires_grad]
    # The average of past weights of --sampling_reward progress.
    untrained = [one for one in model.parameters() if not one.requires_grad]
    buckets = ddp_buckets(parameters)
    if choose_engine(options.run.engine, processes) == "deepspeed":
        from adamae.training.deepspeed import read_config

        zero = read_config(options.run.deepspeed_file).get("zero_optimization", {})
        stage = zero.get("stage", 0)
        bucket = int(zero.get("reduce_bucket_size", bucket)) if stage else bucket
        buckets = deepspeed_buckets(parameters, bucket)
    return Distribution(
        parameters=sum(parameters),
        buffers=sum(one.nbytes for one in (*model.buffers(), *untrained)),
        processes=processes,
        nodes=options.measurement.nodes,
        zero_stage=stage,
        bucket=bucket,
        buckets=buckets,
        passes=options.accumulation,
    )


def _videos(options: EstimateOptions) -> tuple[int | None, float | None]:
    """Return the number of videos, and the clips per second that one core of the loader makes; None if unknown."""
    measurement = options.measurement
    videos, rate = measurement.num_videos, measurement.loader_rate
    if options.data.data_path is None or None not in (videos, rate):
        return videos, rate
    dataset = open_clips(options.data, options.clip, options.run.seed)
    if rate is None:
        report = measure_loader(dataset, num_videos=measurement.loader_videos, batch_size=options.data.batch_size)
        rate = report.clips_per_second_per_core
    return len(dataset) if videos is None else videos, rate
