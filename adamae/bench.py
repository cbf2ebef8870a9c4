"""Measurements of a training step, its memory, the data loader, and test views.

from adamae.bench import bench_step
from adamae.options.bench import BenchStepOptions

report = bench_step(BenchStepOptions.of(model="adamae_base", compare=("economy",)))
print(report.rates)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from adamae import distributed
from adamae.benchmark.contenders import BuildContender, choose, variants
from adamae.benchmark.memory_table import Table, memory_table
from adamae.benchmark.roofline import Prediction, predict_steps
from adamae.benchmark.step import StepReport, benchmark_step
from adamae.gpu_specs import GPUS
from adamae.models.economy import apply_economy
from adamae.options.bench import BenchEvalOptions, BenchLoaderOptions, BenchMemoryOptions, BenchStepOptions
from adamae.options.pretrain import model_arguments
from adamae.precision import choose_precision

# Needs packages that a machine on which only steps are timed may lack.
if TYPE_CHECKING:
    from adamae.benchmark.loader import LoaderReport
    from adamae.benchmark.views import ViewReport
    from adamae.data.annotations import Annotations
    from adamae.data.views import ViewPlan


def bench_step(
    options: BenchStepOptions, contenders: Mapping[str, BuildContender] | None = None
) -> StepReport | Prediction:
    """Time a pre-training step on random clips, or predict its least time on a GPU.

    Args:
        options: All options; ``json`` and ``plot`` have no effect.
        contenders: The steps that ``compare`` may name; None: :func:`~adamae.benchmark.contenders.variants`.

    Returns:
        Seconds, clips per second and bytes of the step and of those to compare; a prediction if ``predict`` is given.

    Raises:
        UserError: If options are inconsistent, a name to compare with is unknown, or a contender cannot be built.
    """
    options, measurement = apply_economy(options), options.measurement
    step: dict[str, Any] = {
        "model": options.model.model,
        "batch_size": measurement.batch_size,
        "compare": choose(measurement.compare or (), variants() if contenders is None else contenders),
        "compile_model": measurement.compile,
        **model_arguments(options.clip, options.model, options.sampler, options.loss),
    }
    if measurement.predict is not None:
        gpu = GPUS[measurement.predict]
        precision = gpu.best_half if measurement.precision == "auto" else measurement.precision
        return predict_steps(**step, gpu=gpu, precision=precision)
    with distributed.start(measurement.device) as world:
        device = world.device
    precision = choose_precision(measurement.precision, device)
    return benchmark_step(**step, precision=precision, device=str(device), rounds=measurement.rounds)


def bench_memory(options: BenchMemoryOptions) -> Table:
    """Count the activation memory of each additional clip. Nothing is executed.

    Args:
        options: All options; ``json`` has no effect.

    Returns:
        Bytes by mode ("full" or "economy"), precision ("fp32" or "bf16") and recomputed parts ("none", "decoder" or
        "all").

    Raises:
        UserError: If sizes are not divisible.
    """
    modes = {}
    for mode, economy in (("full", False), ("economy", True)):
        some = apply_economy(replace(options, model=replace(options.model, economy=economy)))
        modes[mode] = model_arguments(some.clip, some.model, some.sampler, some.loss)
    return memory_table(options.model.model, modes)


def bench_loader(options: BenchLoaderOptions) -> LoaderReport:
    """Measure the throughput of the data loader on a list of videos or images.

    Args:
        options: All options; ``json`` has no effect.

    Returns:
        Clips per second, and the processor seconds of a clip by part of the work.

    Raises:
        UserError: If the list does not exist, or none of the videos can be read.
    """
    from adamae.benchmark.loader import measure_loader
    from adamae.data.loader import choose_workers
    from adamae.pretrain import open_clips

    measurement = options.measurement
    return measure_loader(
        open_clips(options.data, options.clip),
        num_videos=measurement.num_videos,
        batch_size=options.data.batch_size,
        num_workers=choose_workers(options.data.num_workers),
        gpu_rate=measurement.gpu_rate,
    )


def bench_eval(options: BenchEvalOptions) -> ViewReport:
    """Measure the throughput of the test views of a list of videos or images, on one core.

    Args:
        options: All options; ``json`` has no effect.

    Returns:
        Views per second, and the processor seconds of a video by part of the work.

    Raises:
        UserError: If the list does not exist, the views are not supported, or none of the videos can be read.
    """
    from adamae.benchmark.views import measure_views

    annotations, plan = open_views(options)
    measurement = options.measurement
    return measure_views(annotations, plan, num_videos=measurement.num_videos, decoder=measurement.decoder)


def open_views(options: BenchEvalOptions) -> tuple[Annotations, ViewPlan]:
    """Return the list, and the plan of the views of each video.

    Raises:
        UserError: If the list does not exist, or the views are not supported.
    """
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
    return annotations, plan
