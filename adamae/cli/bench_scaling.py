"""``adamae bench scaling`` and ``adamae bench memory``: how the cost of a step grows, and what it keeps."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from adamae.errors import UserError
from adamae.flags import did_you_mean
from adamae.options.pretrain import model_arguments
from adamae.options.scaling import BenchScalingOptions, bench_memory_parser, bench_scaling_parser

if TYPE_CHECKING:
    from adamae.benchmark.scaling import Case

_FRAMES = (8, 16, 32, 64)
_SIZES = (112, 160, 224, 320)
_RATIOS = (0.8, 0.9, 0.95, 0.98)
_WIDTHS = ("small", "base", "large", "huge")
AXES = ("frames", "size", "ratio", "width")


def measure_growth(words: Sequence[str]) -> str:
    """Run the command; what it prints.

    Raises:
        UserError: If an axis is unknown, or sizes do not divide.
    """
    options = bench_scaling_parser().parse(words).options
    import torch

    from adamae import distributed
    from adamae.benchmark.scaling import as_dict, measure_scaling, render
    from adamae.precision import autocast_dtype, choose_precision

    measurement = options.measurement
    cases = list(_cases(options))
    device = distributed.start(measurement.device).device
    precision = autocast_dtype(choose_precision(measurement.precision, device)) or torch.float32
    points = measure_scaling(
        cases, device=device, precision=precision, most=measurement.most * 1e9, rounds=measurement.rounds
    )
    return json.dumps(as_dict(points), indent=2) if measurement.json else render(points)


def count_memory(words: Sequence[str]) -> str:
    """Run ``adamae bench memory``; what it prints.

    Raises:
        UserError: If sizes do not divide.
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


def _cases(options: BenchScalingOptions) -> Iterator[Case]:
    """The cases of all axes that were asked for."""
    from adamae.benchmark.scaling import Case
    from adamae.models.economy import apply_economy

    for axis in options.measurement.axes:
        for value, changed in _varied(axis, options):
            some = apply_economy(changed)
            arguments = model_arguments(some.clip, some.model, some.sampler, some.loss)
            yield Case(axis, value, some.model.model, arguments)


def _varied(axis: str, options: BenchScalingOptions) -> Iterator[tuple[float | str, BenchScalingOptions]]:
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
