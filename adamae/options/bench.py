"""The options of ``adamae bench step``, ``memory``, ``loader`` and ``eval``."""

from __future__ import annotations

from dataclasses import dataclass, field
from os import PathLike
from typing import Any, Literal

from adamae.flags import LARGEST_SIDE, MOST_AT_ONCE, MOST_FRAMES, OptionGroup, flag
from adamae.gpu_specs import gpu_names
from adamae.options.clip_checks import check_clip
from adamae.options.groups import (
    ClipOptions,
    LossOptions,
    ModelOptions,
    PretrainClipOptions,
    PretrainDataOptions,
    SamplerOptions,
)
from adamae.options.inference import PlainListOptions
from adamae.options.parser import OptionParser
from adamae.options.pretrain import check_pretraining
from adamae.options.shared import decoder_flag, device_flag, precision_flag, test_num_crop_flag, test_num_segment_flag
from adamae.samplers import mask_types


@dataclass(frozen=True)
class StepMeasurement(OptionGroup):
    """Batch, device and contenders of the measured step."""

    title = "Measurement"

    batch_size: int = flag(2, "clips in a step", least=1, limit=MOST_AT_ONCE)
    rounds: int = flag(5, "number of timed steps; the median is reported", least=1)
    compare: tuple[str, ...] | None = flag(
        None,
        lambda: (
            "also time, in alternation: compile, checkpoint_decoder, checkpoint_all, decoder_budget, "
            "sampler_half, "
            f"no_sampler_dropout, economy, or, at its published mask ratio, {' or '.join(mask_types())}"
        ),
        metavar="NAME",
    )
    compile: bool = flag(False, "compile our step with torch.compile (torch 2.6 or newer)")
    predict: str | None = flag(
        None,
        "run nothing; predict the minimum time on this GPU from the step's operations, their bytes and their launches",
        choices=gpu_names,
    )
    device: str = device_flag()
    precision: Literal["auto", "fp32", "bf16", "fp16"] = precision_flag()
    json: bool = flag(False, "print JSON")
    plot: str | None = flag(None, "write a chart of the times to this PNG file", metavar="FILE")


@dataclass(frozen=True)
class MemoryMeasurement(OptionGroup):
    """Output format."""

    title = "Output"

    json: bool = flag(False, "print JSON")


@dataclass(frozen=True)
class LoaderMeasurement(OptionGroup):
    """How many videos or images to read, and how to print the result."""

    title = "Measurement"

    num_videos: int = flag(64, "videos or images to read", least=1)
    gpu_rate: float = flag(
        1000.0, "clips per second that the GPU consumes; the report gives the number of cores needed for it", above=0
    )
    json: bool = flag(False, "print JSON")


@dataclass(frozen=True)
class BenchViewOptions(OptionGroup):
    """Clips and crops of each video or image."""

    title = "Views"

    num_frames: int = flag(16, "frames in a clip", least=1, limit=MOST_FRAMES)
    sampling_rate: int = flag(4, "use every n-th frame", least=1, limit=MOST_FRAMES)
    input_size: int = flag(224, "height and width of a view in pixels", least=1, limit=LARGEST_SIDE)
    frame_sampling: Literal["dense", "segment"] = flag(
        "dense", "dense: clips at --sampling_rate; segment: clips that span the video"
    )
    test_num_segment: int | None = test_num_segment_flag()
    test_num_crop: int = test_num_crop_flag()


@dataclass(frozen=True)
class BenchRunOptions(OptionGroup):
    """How many videos or images to read, and how to print the result."""

    title = "Measurement"

    num_videos: int = flag(8, "videos or images to read, spread over the list", least=1)
    decoder: str = decoder_flag()
    json: bool = flag(False, "print JSON")


@dataclass(frozen=True)
class BenchStepOptions:
    """Options of ``adamae bench step``."""

    measurement: StepMeasurement
    clip: ClipOptions
    model: ModelOptions
    sampler: SamplerOptions
    loss: LossOptions

    @classmethod
    def of(cls, **values: Any) -> BenchStepOptions:
        """Build options by name: ``BenchStepOptions.of(model="adamae_base", batch_size=2)``.

        Raises:
            UserError: If there is no such option, or a value is invalid.
        """
        return bench_step_parser().of((), values)


@dataclass(frozen=True)
class BenchMemoryOptions:
    """Options of ``adamae bench memory``."""

    measurement: MemoryMeasurement = field(default_factory=MemoryMeasurement)
    clip: ClipOptions = field(default_factory=ClipOptions)
    model: ModelOptions = field(default_factory=ModelOptions)
    sampler: SamplerOptions = field(default_factory=SamplerOptions)
    loss: LossOptions = field(default_factory=LossOptions)

    @classmethod
    def of(cls, **values: Any) -> BenchMemoryOptions:
        """Build options by name: ``BenchMemoryOptions.of(model="adamae_huge")``.

        Raises:
            UserError: If there is no such option, or a value is invalid.
        """
        return bench_memory_parser().of((), values)


@dataclass(frozen=True)
class BenchLoaderOptions:
    """Options of ``adamae bench loader``."""

    measurement: LoaderMeasurement
    data: PretrainDataOptions
    clip: PretrainClipOptions

    @classmethod
    def of(cls, data_path: str | PathLike[str], **values: Any) -> BenchLoaderOptions:
        """Build options by name: ``BenchLoaderOptions.of("train.csv", num_workers=2)``.

        Raises:
            UserError: If there is no such option, or a value is invalid.
        """
        return bench_loader_parser().of((), {"data_path": data_path, **values})


@dataclass(frozen=True)
class BenchEvalOptions:
    """Options of ``adamae bench eval``."""

    data: PlainListOptions
    views: BenchViewOptions
    measurement: BenchRunOptions

    @classmethod
    def of(cls, data_path: str | PathLike[str], **values: Any) -> BenchEvalOptions:
        """Build options by name: ``BenchEvalOptions.of("test.csv", num_videos=4)``.

        Raises:
            UserError: If there is no such option, or a value is invalid.
        """
        return bench_eval_parser().of((), values, (data_path,))


def bench_step_parser() -> OptionParser[BenchStepOptions]:
    """The command line of ``adamae bench step``."""
    return OptionParser(
        BenchStepOptions,
        prog="adamae bench step",
        description="Time a pre-training step and its parts on random clips, or predict them for a GPU; no data is "
        "needed.",
        examples=(
            "adamae bench step --model adamae_base --batch_size 2",
            "adamae bench step --compare economy compile tube --batch_size 16 --device cuda --plot step.png",
            "adamae bench step --predict h100 --batch_size 32 --compare compile economy tube",
        ),
        check=lambda options, preset: check_pretraining(options, preset, *(options["compare"] or ())),
    )


def bench_memory_parser() -> OptionParser[BenchMemoryOptions]:
    """The command line of ``adamae bench memory``."""
    return OptionParser(
        BenchMemoryOptions,
        prog="adamae bench memory",
        description="Count the activation memory per clip, with and without --economy and for each "
        "--checkpoint_activations. "
        "Nothing is executed, so any model size can be counted on any machine.",
        examples=("adamae bench memory", "adamae bench memory --model adamae_huge --num_frames 64"),
        check=check_pretraining,
    )


def bench_loader_parser() -> OptionParser[BenchLoaderOptions]:
    """The command line of ``adamae bench loader``."""
    return OptionParser(
        BenchLoaderOptions,
        prog="adamae bench loader",
        description="Measure the throughput of the data loader on a list of videos or images, and report its "
        "bottleneck. The list may be given as the first argument, without --data_path.",
        examples=(
            "adamae bench loader train.csv",
            "adamae bench loader ssv2/train.csv --sampling_rate 2 --num_workers 8 --gpu_rate 1500",
        ),
        check=lambda options, preset: check_clip(options, preset, PretrainClipOptions),
    )


def bench_eval_parser() -> OptionParser[BenchEvalOptions]:
    """The command line of ``adamae bench eval``."""
    return OptionParser(
        BenchEvalOptions,
        prog="adamae bench eval",
        description="Measure the throughput of test views of a list of videos or images; all views of one come "
        "from one decode.",
        examples=("adamae bench eval videos/", "adamae bench eval test.csv --test_num_segment 2 --num_videos 4 --json"),
    )
