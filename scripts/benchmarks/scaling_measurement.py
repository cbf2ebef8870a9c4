"""Measure and count how the cost of a pre-training step grows with the clip, the mask ratio and the network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from adamae.benchmark.activation_memory import count_kept_bytes
from adamae.benchmark.arithmetic import count_by_kind
from adamae.benchmark.timing import take_turns
from adamae.models import Pretrainer, create_model
from adamae.precision import autocast_to


@dataclass(frozen=True)
class Case:
    """One size of the problem.

    Attributes:
        axis: Varied quantity: "frames", "size", "ratio" or "width".
        value: Value of the varied quantity.
        model: Name of the model.
        arguments: Arguments of the model's constructor.
    """

    axis: str
    value: float | str
    model: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Point:
    """Cost of a case.

    Attributes:
        case: The case.
        tokens: Number of tokens N of a clip.
        visible: Number of visible tokens V.
        linear: MACs of a clip's forward pass that are linear in the number of tokens.
        attention: MACs that are quadratic in the number of tokens.
        seconds: Forward and backward pass of one clip: processor time on a CPU, wall time on a GPU; None if only
            counted.
        kept: Bytes that the forward pass keeps for the backward pass; None if only counted.
    """

    case: Case
    tokens: int
    visible: int
    linear: int
    attention: int
    seconds: float | None = None
    kept: int | None = None

    @property
    def counted(self) -> int:
        """Total MACs."""
        return self.linear + self.attention


def measure_scaling(
    cases: Sequence[Case],
    *,
    device: torch.device,
    precision: torch.dtype = torch.float32,
    most: float = math.inf,
    rounds: int = 3,
) -> list[Point]:
    """Count every case, and measure those that are not too large.

    Args:
        cases: Cases; one that appears on several axes is measured once.
        device: Device of the measurement.
        precision: Autocast dtype; float32 disables autocast.
        most: Cases of more MACs in a clip's forward pass are only counted.
        rounds: Timed passes of each case; the median is taken.

    Returns:
        A point for each case, in the same order.
    """
    known: dict[str, tuple[float, int]] = {}
    points = []
    for case in cases:
        with torch.device("meta"):
            model = create_model(case.model, **case.arguments)
        assert isinstance(model, Pretrainer)
        counts = count_by_kind(model)
        point = Point(case, model.grid.num_tokens, model.sampler.num_visible(model.grid), **counts)
        if point.counted <= most:
            key = repr((case.model, sorted(case.arguments.items())))
            if key not in known:
                known[key] = _measure(case, device, precision, rounds)
            point = Point(case, point.tokens, point.visible, **counts, seconds=known[key][0], kept=known[key][1])
        points.append(point)
    return points


def _measure(case: Case, device: torch.device, precision: torch.dtype, rounds: int) -> tuple[float, int]:
    """Return the seconds of one clip's forward and backward pass, and the bytes kept between them."""
    model = create_model(case.model, **case.arguments).to(device).train()
    assert isinstance(model, Pretrainer)
    clip = torch.randint(0, 256, (1, *model.clip_shape), dtype=torch.uint8, device=device)

    def forward() -> torch.Tensor:
        with autocast_to(device, precision):
            return model(clip).losses["loss"]

    kept = count_kept_bytes(forward, [clip, *model.parameters(), *model.buffers()])
    timing = take_turns({"pass": lambda: forward().backward()}, rounds, device)["pass"]
    return timing.process if device.type == "cpu" else timing.wall, kept


def exponents(points: Sequence[Point]) -> dict[str, dict[str, float]]:
    """Fit the growth of cost on each axis, as the slope of a straight line through the logarithms.

    Returns:
        By axis: "counted" MACs over tokens (if tokens vary), "time" over counted MACs, and "kept" bytes over tokens,
        the last two if at least two cases were measured. 1 means linear growth, 2 quadratic.
    """
    result: dict[str, dict[str, float]] = {}
    for axis in dict.fromkeys(point.case.axis for point in points):
        some = [point for point in points if point.case.axis == axis]
        measured = [(p.tokens, p.counted, p.seconds, p.kept) for p in some if p.seconds and p.kept]
        slopes = {
            "counted": slope([p.tokens for p in some], [p.counted for p in some]),
            "time": slope([counted for _, counted, _, _ in measured], [seconds for *_, seconds, _ in measured]),
            "kept": slope([tokens for tokens, *_ in measured], [kept for *_, kept in measured]),
        }
        result[axis] = {name: value for name, value in slopes.items() if value is not None}
    return result


def slope(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Fit the exponent a of the power law y ~ x^a by least squares; None if x does not vary."""
    if len(set(x)) < 2:
        return None
    logs = [(math.log(a), math.log(b)) for a, b in zip(x, y, strict=True)]
    mean_x, mean_y = (sum(each) / len(logs) for each in zip(*logs, strict=True))
    return sum((a - mean_x) * (b - mean_y) for a, b in logs) / sum((a - mean_x) ** 2 for a, _ in logs)


def render(points: Sequence[Point]) -> str:
    """Format a Markdown table and the exponents."""
    lines = [
        "| varied | to | tokens | visible | 10^9 MACs | attention | ms | ms per 10^9 | MiB kept |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for point in points:
        measured = "counted only | |" if point.seconds is None else _measured(point, point.seconds)
        kept = "" if point.kept is None else f"{point.kept / 2**20:.0f}"
        lines.append(
            f"| {point.case.axis} | {point.case.value} | {point.tokens} | {point.visible} | "
            f"{point.counted / 1e9:.1f} | {point.attention / point.counted:.0%} | {measured} {kept} |"
        )
    lines += ["", "Exponents: counted over tokens, time over counted, bytes kept over tokens", ""]
    for axis, values in exponents(points).items():
        lines.append(f"- {axis}: " + ", ".join(f"{name} {value:.2f}" for name, value in values.items()))
    return "\n".join(lines)


def _measured(point: Point, seconds: float) -> str:
    return f"{seconds * 1e3:.0f} | {seconds * 1e3 / (point.counted / 1e9):.1f} |"


def as_dict(points: Sequence[Point]) -> dict[str, Any]:
    """Return plain values for JSON."""
    return {"points": [asdict(point) for point in points], "exponents": exponents(points)}
