"""The options of ``adamae bench scaling`` and ``adamae bench memory``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from adamae.flags import OptionGroup, flag
from adamae.options.groups import ClipOptions, LossOptions, ModelOptions, SamplerOptions
from adamae.options.parser import OptionParser


@dataclass(frozen=True)
class ScalingMeasurement(OptionGroup):
    """What is measured of how cost grows."""

    axes: tuple[str, ...] = flag(
        ("frames", "size", "ratio", "width"), "what is varied, one at a time from the model and the clip that are given"
    )
    most: float = flag(60.0, "cases of more 10^9 multiply-adds in a clip's forward pass are only counted", least=0)
    rounds: int = flag(3, "counted passes of each case; the median is told", least=1)
    device: str = flag("auto", "cpu, cuda or auto: cuda where there is one", metavar="DEVICE")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = flag(
        "auto", "auto: bf16 where the GPU has it, else fp16; fp32 on the CPU"
    )
    json: bool = flag(False, "print JSON")


@dataclass(frozen=True)
class BenchScalingOptions:
    """Everything that decides what is measured."""

    measurement: ScalingMeasurement = field(default_factory=ScalingMeasurement)
    clip: ClipOptions = field(default_factory=ClipOptions)
    model: ModelOptions = field(default_factory=ModelOptions)
    sampler: SamplerOptions = field(default_factory=SamplerOptions)
    loss: LossOptions = field(default_factory=LossOptions)


@dataclass(frozen=True)
class MemoryMeasurement(OptionGroup):
    """How what was counted is told."""

    json: bool = flag(False, "print JSON")


@dataclass(frozen=True)
class BenchMemoryOptions:
    """Everything that decides what is kept."""

    measurement: MemoryMeasurement = field(default_factory=MemoryMeasurement)
    clip: ClipOptions = field(default_factory=ClipOptions)
    model: ModelOptions = field(default_factory=ModelOptions)
    sampler: SamplerOptions = field(default_factory=SamplerOptions)
    loss: LossOptions = field(default_factory=LossOptions)


def bench_memory_parser() -> OptionParser[BenchMemoryOptions]:
    """The command line of ``adamae bench memory``."""
    return OptionParser(
        BenchMemoryOptions,
        prog="adamae bench memory",
        description="Count what a further clip keeps for the backward pass, with and without --economy and each "
        "--checkpoint_activations. Nothing is run, so that any size can be asked about on any machine.",
        examples=("adamae bench memory", "adamae bench memory --model adamae_huge --num_frames 64"),
    )


def bench_scaling_parser() -> OptionParser[BenchScalingOptions]:
    """The command line of ``adamae bench scaling``."""
    return OptionParser(
        BenchScalingOptions,
        prog="adamae bench scaling",
        description="Tell how the cost of a pre-training step grows with frames, size, masking ratio and width.",
        examples=("adamae bench scaling", "adamae bench scaling --most 1e9 --device cuda --economy --json"),
    )
