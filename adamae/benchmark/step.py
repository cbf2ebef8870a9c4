"""Time of a pre-training step, and of variants and other implementations, measured in alternation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from adamae.benchmark.activation_memory import activation_memory
from adamae.benchmark.arithmetic import THIS, compare_multiply_adds
from adamae.benchmark.contenders import OURS, BuildContender, Contender, Setting, variants
from adamae.benchmark.step_parts import step_parts
from adamae.benchmark.timing import Timing, matrix_peak, take_turns
from adamae.errors import UserError
from adamae.models import Pretrainer, create_model
from adamae.peak_memory import peak_memory
from adamae.precision import matmul_dtype


@dataclass(frozen=True)
class Compared:
    """Measurement of another step.

    Attributes:
        step: Its time.
        clips_per_second: Clips per second of wall time.
        over_ours: Its clips per second relative to ours, by processor time on a CPU and by wall time on a GPU.
        peak_memory: Peak bytes of a step of this contender alone; None on a CPU, where only the process has a peak.
        kept_per_clip: Bytes of activations of each additional clip; None if it is not our network.
    """

    step: Timing
    clips_per_second: float
    over_ours: float
    peak_memory: int | None
    kept_per_clip: int | None


@dataclass(frozen=True)
class StepReport:
    """Result of :func:`benchmark_step`.

    Attributes:
        model: Name of the model.
        device: Type of the device.
        precision: "fp32", "bf16" or "fp16".
        batch_size: Clips in a step.
        step: Time of forward pass, backward pass and optimiser of our step.
        clips_per_second: Clips per second of our step, by wall time.
        peak_memory: Bytes: allocated for our step on a GPU; resident in the process on a CPU, before others run.
        kept_per_clip: Bytes of activations of each additional clip.
        matrix_peak: Operations per second of a large matrix product in this precision.
        multiply_adds: MACs of one clip's forward pass, and of others to compare; see
            :func:`~adamae.benchmark.arithmetic.compare_multiply_adds`.
        parts: Time of each part alone, forward and backward.
        compared: Measurements of the other steps, timed in alternation with our step.
    """

    model: str
    device: str
    precision: str
    batch_size: int
    step: Timing
    clips_per_second: float
    peak_memory: int
    kept_per_clip: int
    matrix_peak: float
    multiply_adds: dict[str, int] = field(default_factory=dict)
    parts: dict[str, Timing] = field(default_factory=dict)
    compared: dict[str, Compared] = field(default_factory=dict)

    @property
    def share_of_peak(self) -> float:
        """Throughput of the operations that the step needs, as a fraction of that of a large matrix product.

        One MAC is two operations, and a backward pass counts as two forward passes. Recomputation, or leaving out what
        is not needed, does not change the count.
        """
        needed = 3 * 2 * self.multiply_adds[THIS] * self.batch_size
        return needed / self.step.wall / self.matrix_peak

    parts_title = ", forward and backward"

    @property
    def title(self) -> str:
        """Description of the measurement."""
        return f"{self.model} on {self.device}, {self.precision}, batch {self.batch_size}"

    @property
    def rates(self) -> dict[str, float]:
        """Clips per second of our step and all others."""
        return {OURS: self.clips_per_second} | {name: other.clips_per_second for name, other in self.compared.items()}

    @property
    def part_seconds(self) -> dict[str, float]:
        """Seconds of each part alone."""
        return {name: part.wall for name, part in self.parts.items()}

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {**asdict(self), "share_of_peak": self.share_of_peak}

    def render(self) -> str:
        """Format the report as text."""
        lines = [
            self.title,
            f"  step            {self.step.wall * 1e3:10.1f} ms   {self.clips_per_second:.2f} clips/s   "
            f"peak memory {self.peak_memory / 2**30:.2f} GiB",
            f"  activations per additional clip: {self.kept_per_clip / 2**20:.0f} MiB",
            f"  {self.share_of_peak:.0%} of the throughput of a large matrix product, {self.matrix_peak / 1e9:.0f} "
            f"GFLOP/s",
        ]
        total = sum(part.wall for part in self.parts.values())
        lines += [
            f"  {name:<24}{part.wall * 1e3:10.1f} ms   {part.wall / total:6.1%} of the parts"
            for name, part in self.parts.items()
        ]
        lines.append("  MACs of one clip, forward pass")
        lines += [f"    {name:<32}{count / 1e9:8.2f} G" for name, count in self.multiply_adds.items()]
        lines += [_line(name, other) for name, other in self.compared.items()]
        return "\n".join(lines)


def _line(name: str, other: Compared) -> str:
    line = f"  {name:<20}{other.step.wall * 1e3:10.1f} ms   {other.over_ours:.2f} of our clips/s"
    if other.peak_memory is not None:
        line += f"   peak {other.peak_memory / 2**30:.2f} GiB"
    if other.kept_per_clip is not None:
        line += f"   {other.kept_per_clip / 2**20:.0f} MiB per additional clip"
    return line


def benchmark_step(
    *,
    model: str = "adamae_base",
    batch_size: int = 2,
    precision: str = "fp32",
    device: str = "cpu",
    rounds: int = 5,
    compare: Mapping[str, BuildContender] | None = None,
    compile_model: bool = False,
    **options: Any,
) -> StepReport:
    """Measure our step, its parts and, in alternation with it, the contenders to compare.

    Args:
        model: Name of a pre-train model.
        batch_size: Clips in a step.
        precision: "fp32", "bf16" or "fp16".
        device: "cpu" or "cuda".
        rounds: Measured steps of each; medians are reported.
        compare: Contenders by name, such as some of :func:`~adamae.benchmark.contenders.variants`.
        compile_model: Run our step through ``torch.compile``.
        **options: Arguments of the model.

    Raises:
        UserError: If the model is not a pre-train model, or a contender cannot be built.
    """
    others, where, dtype = compare or {}, torch.device(device), matmul_dtype(precision)
    with torch.device("meta"):
        built = create_model(model, **options)
    if not isinstance(built, Pretrainer):
        raise UserError(f"{model} is not supported: expected a pre-training model, as for `adamae pretrain`")
    shape = (batch_size, *built.clip_shape)
    clips = torch.randint(0, 256, shape, dtype=torch.uint8, device=where)
    setting = Setting(model, options, clips, dtype, compile_model)
    contenders, memory = {}, {}
    for name, build in {OURS: variants()[OURS], **others}.items():
        contenders[name] = build(setting)
        memory[name] = _peak_of(contenders[name], where)
    timings = take_turns({name: contender.step for name, contender in contenders.items()}, rounds, where)
    ours = contenders[OURS].network
    assert isinstance(ours, Pretrainer)
    return StepReport(
        model=model,
        device=device,
        precision=precision,
        batch_size=batch_size,
        step=timings[OURS],
        clips_per_second=batch_size / timings[OURS].wall,
        peak_memory=memory[OURS],
        kept_per_clip=_kept_per_clip(ours, dtype) or 0,
        matrix_peak=matrix_peak(where, dtype),
        multiply_adds=compare_multiply_adds(model, **options),
        parts=take_turns(step_parts(ours, clips, dtype), rounds, where),
        compared={
            name: Compared(
                step=timings[name],
                clips_per_second=batch_size / timings[name].wall,
                over_ours=_speed(timings[name], where) / _speed(timings[OURS], where),
                peak_memory=memory[name] if where.type == "cuda" else None,
                kept_per_clip=_kept_per_clip(contenders[name].network, dtype),
            )
            for name in others
        },
    )


def _speed(timing: Timing, device: torch.device) -> float:
    return 1 / (timing.process if device.type == "cpu" else timing.wall)


def _peak_of(contender: Contender, device: torch.device) -> int:
    """Return the peak bytes of a step.

    On a GPU, memory of other contenders is subtracted. On a CPU it is the peak of the process so far, which is
    meaningful only for the first contender.
    """
    contender.step()
    if device.type != "cuda":
        return peak_memory(device)
    held_by_all = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    contender.step()
    return peak_memory(device) - held_by_all + contender.held


def _kept_per_clip(network: torch.nn.Module, precision: torch.dtype) -> int | None:
    if not isinstance(network, Pretrainer):
        return None
    if next(network.parameters()).device.type == "cuda":
        return activation_memory(network, precision).per_clip
    # Tensors without values suffice and take no memory on a CPU.
    with FakeTensorMode(allow_non_fake_inputs=True):
        return activation_memory(network, precision).per_clip
