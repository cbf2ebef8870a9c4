"""How the cost of a pre-training step grows with frames, size, mask ratio and width.

The table of docs/benchmarks/scaling.md:

    .venv/bin/python scripts/benchmarks/scaling.py --most 310 --device cpu

One quantity is varied at a time, starting from the given model and clip.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from adamae.errors import UserError
from adamae.flags import OptionGroup, did_you_mean, flag
from adamae.options.groups import ClipOptions, LossOptions, ModelOptions, SamplerOptions
from adamae.options.parser import OptionParser
from adamae.options.pretrain import model_arguments

if TYPE_CHECKING:
    from scaling_measurement import Case

_FRAMES = (8, 16, 32, 64)
_SIZES = (112, 160, 224, 320)
_RATIOS = (0.8, 0.9, 0.95, 0.98)
_WIDTHS = ("small", "base", "large", "huge")
AXES = ("frames", "size", "ratio", "width")


@dataclass(frozen=True)
class ScalingMeasurement(OptionGroup):
    """What is measured."""

    axes: tuple[str, ...] = flag(AXES, "what is varied")
    most: float = flag(60.0, "cases of more 10^9 MACs in a clip's forward pass are only counted", least=0)
    rounds: int = flag(3, "timed passes of each case; the median is reported", least=1)
    device: str = flag("auto", "cpu, cuda or auto: cuda where there is one", metavar="DEVICE")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = flag(
        "auto", "auto: bf16 where the GPU has it, else fp16; fp32 on the CPU"
    )
    json: bool = flag(False, "print JSON")


@dataclass(frozen=True)
class ScalingOptions:
    """All options of the benchmark."""

    measurement: ScalingMeasurement = field(default_factory=ScalingMeasurement)
    clip: ClipOptions = field(default_factory=ClipOptions)
    model: ModelOptions = field(default_factory=ModelOptions)
    sampler: SamplerOptions = field(default_factory=SamplerOptions)
    loss: LossOptions = field(default_factory=LossOptions)


def parser() -> OptionParser[ScalingOptions]:
    """Build the command-line parser."""
    return OptionParser(
        ScalingOptions,
        prog="scripts/benchmarks/scaling.py",
        description="Report how the cost of a pre-training step grows with frames, size, mask ratio and width.",
        examples=("python scripts/benchmarks/scaling.py --most 1e9 --device cuda --economy --json",),
    )


def main(words: Sequence[str]) -> int:
    """Measure and print the result."""
    options = parser().parse(words).options
    from scaling_measurement import as_dict, measure_scaling, render

    from adamae import distributed
    from adamae.precision import choose_precision, matmul_dtype

    measurement = options.measurement
    cases = list(_cases(options))
    device = distributed.start(measurement.device).device
    precision = matmul_dtype(choose_precision(measurement.precision, device))
    points = measure_scaling(
        cases, device=device, precision=precision, most=measurement.most * 1e9, rounds=measurement.rounds
    )
    print(json.dumps(as_dict(points), indent=2) if measurement.json else render(points))
    return 0


def _cases(options: ScalingOptions) -> Iterator[Case]:
    """Yield the cases of all requested axes."""
    from scaling_measurement import Case

    from adamae.models.economy import apply_economy

    for axis in options.measurement.axes:
        for value, changed in _varied(axis, options):
            some = apply_economy(changed)
            arguments = model_arguments(some.clip, some.model, some.sampler, some.loss)
            yield Case(axis, value, some.model.model, arguments)


def _varied(axis: str, options: ScalingOptions) -> Iterator[tuple[float | str, ScalingOptions]]:
    if axis == "frames":
        for frames in _FRAMES:
            yield frames, replace(options, clip=replace(options.clip, num_frames=frames))
    elif axis == "size":
        for size in _SIZES:
            yield size, replace(options, clip=replace(options.clip, input_size=size))
    elif axis == "ratio":
        for ratio in _RATIOS:
            yield ratio, replace(options, sampler=replace(options.sampler, mask_ratio=ratio))
    elif axis == "width":
        for width in _WIDTHS:
            yield width, replace(options, model=replace(options.model, model=f"adamae_{width}"))
    else:
        hint = did_you_mean(axis, AXES) or f": expected one of {', '.join(AXES)}"
        raise UserError(f"--axes: got {axis!r}{hint}")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except UserError as error:
        print(f"scaling.py: error: {error}", file=sys.stderr)
        sys.exit(2)
