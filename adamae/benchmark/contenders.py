"""Steps to compare: ours, ours with one thing changed, and other people's, each ready to be called in turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from adamae.benchmark.peer import build_peer
from adamae.benchmark.published_style import PublishedStyle
from adamae.errors import UserError
from adamae.models import Pretrainer, create_model
from adamae.models.economy import economy_arguments
from adamae.samplers import SAMPLERS, Declaration, declaration_of, declared

OURS, PEER, PUBLISHED = "ours", "peer", "published_style"
# Adam's two moments, the weights and, while a step runs, their gradients. The last are part of a step's peak anyway.
_FLOATS_HELD = 3


@dataclass(frozen=True)
class Contender:
    """A step.

    Attributes:
        step: Forward, backward and optimiser; ends without waiting for the device.
        network: What it trains.
        held: Bytes of weights and of the optimiser's state, which lie in memory between steps.
    """

    step: Callable[[], None]
    network: nn.Module
    held: int


@dataclass(frozen=True)
class Setting:
    """What every contender has in common.

    Attributes:
        model: Name of the pre-train model.
        options: Arguments of it.
        clips: (B, T, H, W, C) uint8, on the device.
        precision: Autocast to this type; float32 runs without.
        compiled: Whether our steps go through ``torch.compile``.
    """

    model: str
    options: dict[str, Any]
    clips: Tensor
    precision: torch.dtype
    compiled: bool = False


def _ours(setting: Setting, *, compiled: bool | None = None, recompute: Any = None, **changes: Any) -> Contender:
    network = create_model(setting.model, **{**setting.options, **changes})
    assert isinstance(network, Pretrainer)
    network = network.to(setting.clips.device).train()
    if recompute is not None:
        network.checkpoint_activations(recompute)
    forward: Callable[[Tensor], Any] = network
    if setting.compiled if compiled is None else compiled:
        forward = torch.compile(network)
    return _contender(network, lambda: forward(setting.clips).losses["loss"], setting.precision)


def _economy(setting: Setting) -> Contender:
    return _ours(setting, **_cheap(setting))


def _part_of_economy(name: str) -> Callable[[Setting], Contender]:
    return lambda setting: _ours(setting, **{key: value for key, value in _cheap(setting).items() if key == name})


def _cheap(setting: Setting) -> dict[str, Any]:
    with torch.device("meta"):
        model = create_model(setting.model, **setting.options)
    assert isinstance(model, Pretrainer)
    return economy_arguments(model.encoder.embed_dim, declaration_of(model.sampler).name)


def _peer(setting: Setting) -> Contender:
    network, loss = build_peer(_sizes(setting), setting.clips)
    return _contender(network, loss, setting.precision)


def _published_style(setting: Setting) -> Contender:
    like = _sizes(setting)
    network = PublishedStyle(like).to(setting.clips.device).train()
    frames = like.grid.clip_shape[0]
    video = like.pixel_values(setting.clips[:, :frames]).permute(0, 4, 1, 2, 3).contiguous()
    on_gpu = setting.clips.device.type == "cuda"
    # The published launch scripts train in fp16 with a scaled loss, which a CPU has not.
    precision = torch.float16 if on_gpu else setting.precision
    return _contender(network, lambda: network(video), precision, scaled=on_gpu)


def _sizes(setting: Setting) -> Pretrainer:
    model = create_model(setting.model, **setting.options)
    assert isinstance(model, Pretrainer)
    return model.to(setting.clips.device)


BUILDERS: dict[str, Callable[[Setting], Contender]] = {
    OURS: _ours,
    PEER: _peer,
    PUBLISHED: _published_style,
    "compile": lambda setting: _ours(setting, compiled=True),
    "checkpoint_decoder": lambda setting: _ours(setting, recompute="decoder"),
    "checkpoint_all": lambda setting: _ours(setting, recompute="all"),
    "decoder_budget": _part_of_economy("decoder_budget"),
    "sampler_half": _part_of_economy("sampler_dim"),
    "no_sampler_dropout": _part_of_economy("sampler_drop_rate"),
    "economy": _economy,
}


def build_contender(name: str, setting: Setting) -> Contender:
    """The step of a name from :data:`BUILDERS`, or ours with the masks of that name at their published ratio."""
    return BUILDERS[name](setting) if name in BUILDERS else _masked(setting, declared(name))


def _masked(setting: Setting, sampler: Declaration) -> Contender:
    ratio: dict[str, Any] = {} if sampler.published_ratio is None else {"mask_ratio": sampler.published_ratio}
    return _ours(setting, mask_type=sampler.name, **ratio)


def checked_names(names: Sequence[str]) -> tuple[str, ...]:
    """``names`` of what to compare with our step.

    Raises:
        UserError: If one of them is unknown.
    """
    known = [name for name in (*BUILDERS, *SAMPLERS) if name != OURS]
    for name in names:
        if name not in known:
            raise UserError(f"compare = {name!r}: expected some of {', '.join(known)}")
    return tuple(dict.fromkeys(names))


def _contender(
    network: nn.Module, loss: Callable[[], Tensor], precision: torch.dtype, scaled: bool = False
) -> Contender:
    held = _FLOATS_HELD * sum(parameter.numel() * parameter.element_size() for parameter in network.parameters())
    device = next(network.parameters()).device
    return Contender(whole_step(network, loss, precision, device, scaled), network, held)


def whole_step(
    network: nn.Module, loss: Callable[[], Tensor], precision: torch.dtype, device: torch.device, scaled: bool = False
) -> Callable[[], None]:
    """A callable that runs forward, backward and AdamW.

    Args:
        network: What is trained.
        loss: Runs the forward pass.
        precision: Autocast to this type; float32 runs without.
        device: Where it lies.
        scaled: Through a ``GradScaler``, which waits for the device at each step.
    """
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-6, fused=True)
    scaler = torch.amp.GradScaler(device.type, enabled=scaled)

    def step() -> None:
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            value = loss()
        scaler.scale(value).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()

    return step
