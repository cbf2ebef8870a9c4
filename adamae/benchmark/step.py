"""How long a pre-train step takes, beside the same work made of public parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import torch
from torch import Tensor

from adamae.benchmark.arithmetic import compare_multiply_adds
from adamae.benchmark.parts import step_parts
from adamae.benchmark.timing import Timing, peak_memory, take_turns
from adamae.errors import UserError
from adamae.layers.block import Block
from adamae.models import Pretrainer, create_model

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
PEER_RATIO = 0.9


@dataclass
class StepReport:
    """What :func:`benchmark_step` measured.

    Attributes:
        model: Name of the model.
        device: Where it ran.
        precision: "fp32", "bf16" or "fp16".
        batch_size: Clips in a step.
        step: Forward, backward and optimiser of our step.
        clips_per_second: Of our step.
        peak_memory: Bytes: allocated on a GPU, resident in the process on a CPU.
        multiply_adds: Of one clip's forward pass, and of others to compare; see
            :func:`~adamae.benchmark.arithmetic.compare_multiply_adds`.
        parts: Seconds of each part alone, forward and backward.
        peer: The peer's step, if it was asked for.
    """

    model: str
    device: str
    precision: str
    batch_size: int
    step: Timing
    clips_per_second: float
    peak_memory: int
    multiply_adds: dict[str, int] = field(default_factory=dict)
    parts: dict[str, Timing] = field(default_factory=dict)
    peer: Timing | None = None

    @property
    def over_peer(self) -> float | None:
        """Our clips per second over the peer's, by processor time on a CPU and by the clock on a GPU."""
        if self.peer is None:
            return None
        if self.device == "cpu":
            return self.peer.process / self.step.process
        return self.peer.wall / self.step.wall

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**asdict(self), "over_peer": self.over_peer}

    def render(self) -> str:
        """The report as text."""
        lines = [
            f"{self.model} on {self.device}, {self.precision}, batch {self.batch_size}",
            f"  step            {self.step.wall * 1e3:10.1f} ms   {self.clips_per_second:.2f} clips/s   "
            f"peak memory {self.peak_memory / 2**30:.2f} GiB",
        ]
        total = sum(part.wall for part in self.parts.values())
        lines += [
            f"  {name:<24}{part.wall * 1e3:10.1f} ms   {part.wall / total:6.1%} of the parts"
            for name, part in self.parts.items()
        ]
        lines.append("  multiply-adds of one clip, forward")
        lines += [f"    {name:<32}{count / 1e9:8.2f} G" for name, count in self.multiply_adds.items()]
        if self.peer is not None:
            lines.append(
                f"  Transformers VideoMAE, SDPA, tube {PEER_RATIO:.0%}: {self.peer.wall * 1e3:.1f} ms, "
                f"ours does {self.over_peer:.2f} of its clips/s"
            )
        return "\n".join(lines)


def benchmark_step(
    *,
    model: str = "adamae_base",
    batch_size: int = 2,
    precision: str = "fp32",
    device: str = "cpu",
    rounds: int = 5,
    peer: bool = False,
    compile_model: bool = False,
    **options: Any,
) -> StepReport:
    """Measure our step, its parts and, on request, Transformers' step, in alternation.

    Args:
        model: Name of a pre-train model.
        batch_size: Clips in a step.
        precision: "fp32", "bf16" or "fp16".
        device: "cpu" or "cuda".
        rounds: Counted steps of each; medians are reported.
        peer: Also time Transformers' ``VideoMAEForPreTraining`` of the same size.
        compile_model: Run our step through ``torch.compile``.
        **options: Arguments of the model.

    Raises:
        UserError: If the model is no pre-train model, or the peer is asked for and not installed.
    """
    where = torch.device(device)
    dtype = PRECISIONS[precision]
    built = create_model(model, **options)
    if not isinstance(built, Pretrainer):
        raise UserError(f"{model} is no pre-train model: expected one of those that `adamae pretrain` takes")
    built = built.to(where).train()
    frames, height, width = built.frame_choice.candidates.clip_shape
    channels = built.pixel_values.mean.numel()
    clips = torch.randint(0, 256, (batch_size, frames, height, width, channels), dtype=torch.uint8, device=where)
    forward: Callable[[Tensor], Any] = torch.compile(built) if compile_model else built
    contenders = {"ours": whole_step(built, lambda: forward(clips).losses["loss"], dtype, where)}
    if peer:
        contenders["peer"] = _peer_step(built, clips, dtype, where)
    if where.type == "cuda":
        torch.cuda.reset_peak_memory_stats(where)
    contenders["ours"]()
    memory = peak_memory(where)
    timings = take_turns(contenders, rounds, where)
    return StepReport(
        model=model,
        device=device,
        precision=precision,
        batch_size=batch_size,
        step=timings["ours"],
        clips_per_second=batch_size / timings["ours"].wall,
        peak_memory=memory,
        multiply_adds=compare_multiply_adds(model, **options),
        parts=take_turns(step_parts(built, clips, dtype), rounds, where),
        peer=timings.get("peer"),
    )


def whole_step(
    module: torch.nn.Module, loss: Callable[[], Tensor], dtype: torch.dtype, device: torch.device
) -> Callable[[], None]:
    """A callable that runs forward, backward and AdamW."""
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-6, fused=True)

    def step() -> None:
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            value = loss()
        value.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def _peer_step(model: Pretrainer, clips: Tensor, dtype: torch.dtype, device: torch.device) -> Callable[[], None]:
    """The step of Transformers' VideoMAE at the same sizes, without a sampler, at its own masking ratio."""
    from adamae import torchvision_import  # noqa: F401

    try:
        from transformers import VideoMAEConfig, VideoMAEForPreTraining  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise UserError("the peer's step needs the package transformers: pip install transformers") from error

    grid = model.grid
    frames, height, _ = grid.clip_shape
    config = VideoMAEConfig(
        image_size=height,
        patch_size=grid.patch_size,
        num_frames=frames,
        tubelet_size=grid.tubelet_size,
        norm_pix_loss=True,
        attn_implementation="sdpa",
        **_stack_sizes(model.encoder.blocks, "{}"),
        **_stack_sizes(model.decoder.blocks, "decoder_{}"),
    )
    peer = VideoMAEForPreTraining(config).to(device).train()
    video = model.pixel_values(clips).permute(0, 1, 4, 2, 3).contiguous()
    area = grid.h * grid.w
    hidden = torch.rand(len(clips), area, device=device).argsort(dim=1) < int(PEER_RATIO * area)
    masks = hidden.unsqueeze(1).expand(-1, grid.t, -1).flatten(1)
    return whole_step(peer, lambda: peer(video, bool_masked_pos=masks).loss, dtype, device)


def _stack_sizes(blocks: torch.nn.ModuleList, name: str) -> dict[str, int]:
    """Width, depth, heads and MLP width of a stack of blocks, as Transformers calls them."""
    first = cast(Block, blocks[0])
    sizes = {
        "hidden_size": first.attn.proj.out_features,
        "num_hidden_layers": len(blocks),
        "num_attention_heads": first.attn.num_heads,
        "intermediate_size": first.mlp.fc1.out_features,
    }
    return {name.format(key): value for key, value in sizes.items()}
