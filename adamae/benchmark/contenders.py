"""Pre-training steps to compare: our step and variants with one option changed, to be timed in alternation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from adamae.errors import UserError
from adamae.models import Pretrainer, create_model
from adamae.options.economy import economy_arguments
from adamae.precision import autocast_to
from adamae.samplers import SAMPLERS, Declaration, declaration_of, declared
from adamae.samplers.cells import CellSampler
from adamae.training.compilation import check_compiler

Network = TypeVar("Network", bound=nn.Module)
OURS = "ours"
# Adam's two moments and the weights. Gradients exist only during a step and are part of its peak in any case.
_FLOATS_HELD = 3
# Part of a step by the method that computes it in the forward pass; the innermost method counts.
DEFAULT_PART = "losses"
OUR_PARTS = {
    "pixels": "tokens",
    "encoder.patch_embed.forward": "tokens",
    "select_tokens": "selection",
    "sampler.forward": "selection",
    "encoder.forward": "encoder",
    "encoder_to_decoder.forward": "decoder",
    "decoder.decode": "decoder",
    "reconstruct": "losses",
    "sampling_loss": "losses",
}


@dataclass(frozen=True)
class Contender:
    """A step to compare.

    Attributes:
        step: Forward pass, backward pass and optimiser; returns without waiting for the device.
        network: The network to train.
        held: Bytes of weights and optimiser state, which stay in memory between steps.
        parts: Part of the step by the path of the network's method that computes it; all other methods are "losses".
    """

    step: Callable[[], None]
    network: nn.Module
    held: int
    parts: Mapping[str, str]


@dataclass(frozen=True)
class Setting:
    """Settings that all contenders share.

    Attributes:
        model: Name of the pre-train model.
        options: Arguments of its constructor.
        clips: (B, T, H, W, C) uint8, on the device.
        precision: Autocast dtype; float32 disables autocast.
        compiled: Whether our steps are compiled.
        compiler: Function that compiles them.
    """

    model: str
    options: dict[str, Any]
    clips: Tensor
    precision: torch.dtype
    compiled: bool = False
    compiler: Callable[[nn.Module], Callable[..., Any]] = torch.compile

    def build(self, **changes: Any) -> Pretrainer:
        """Build the model on the clips' device, in training mode, with some arguments changed."""
        network = create_model(self.model, **{**self.options, **changes})
        assert isinstance(network, Pretrainer)
        return on_device(network, self.clips.device).train()


def on_device(network: Network, device: torch.device) -> Network:
    """Move a network to a device; one without values cannot be moved, and is already there."""
    return network if next(network.parameters()).device == device else network.to(device)


BuildContender = Callable[[Setting], Contender]


def _ours(setting: Setting, *, compiled: bool | None = None, recompute: Any = None, **changes: Any) -> Contender:
    network = setting.build(**changes)
    if recompute is not None:
        network.checkpoint_activations(recompute)
    forward: Callable[..., Any] = network
    if setting.compiled if compiled is None else compiled:
        check_compiler()
        forward = setting.compiler(network)
    clips, seeds = setting.clips, _seeds(setting.clips)
    return contender(network, lambda: forward(clips, seeds=seeds).losses["loss"], setting.precision, parts=OUR_PARTS)


def _seeds(clips: Tensor) -> Tensor | None:
    """Return seeds (B,) on the host, pinned for clips on a GPU, as in training; on other devices the model draws."""
    return torch.arange(len(clips), pin_memory=True) if clips.device.type == "cuda" else None


def _part_of_economy(contender: str, option: str) -> BuildContender:
    def build(setting: Setting) -> Contender:
        values = _economy(setting)
        if option not in values:
            # Otherwise our own step would be measured once more.
            fitting = [name for name in SAMPLERS if option in economy_arguments(1, name)]
            raise UserError(
                f"compare = {contender!r}: these masks are drawn without {option}; expected --mask_type "
                f"{' or '.join(fitting)}"
            )
        return _ours(setting, **{option: values[option]})

    return build


def _economy(setting: Setting) -> dict[str, Any]:
    with torch.device("meta"):
        model = create_model(setting.model, **setting.options)
    assert isinstance(model, Pretrainer)
    # For a pyramid, the width of the first stage.
    return economy_arguments(model.encoder.patch_embed.embed_dim, declaration_of(model.sampler).name)


_VARIANTS: dict[str, BuildContender] = {
    OURS: _ours,
    "compile": lambda setting: _ours(setting, compiled=True),
    "checkpoint_decoder": lambda setting: _ours(setting, recompute="decoder"),
    "checkpoint_all": lambda setting: _ours(setting, recompute="all"),
    "decoder_budget": _part_of_economy("decoder_budget", "decoder_budget"),
    "sampler_half": _part_of_economy("sampler_half", "sampler_dim"),
    "no_sampler_dropout": _part_of_economy("no_sampler_dropout", "sampler_drop_rate"),
    "economy": lambda setting: _ours(setting, **_economy(setting)),
}


def variants() -> dict[str, BuildContender]:
    """Return the contenders of ``adamae bench step --compare``: variants of our step, masks at official ratios."""
    return {**_VARIANTS, **{name: partial(_masked, declared(name)) for name in SAMPLERS}}


def _masked(sampler: Declaration, setting: Setting) -> Contender:
    ratio = sampler.published_ratio
    if issubclass(sampler.sampler_class, CellSampler):
        ratio = sampler.sampler_class.usual_ratio(**setting.options)
    changes: dict[str, Any] = {} if ratio is None else {"mask_ratio": ratio}
    return _ours(setting, mask_type=sampler.name, **changes)


def choose(names: Iterable[str], known: Mapping[str, BuildContender]) -> dict[str, BuildContender]:
    """Select contenders by name.

    Args:
        names: Names without that of our own step, which is always measured.
        known: Contenders by name, such as :func:`variants`.

    Raises:
        UserError: If a name is unknown.
    """
    names = tuple(dict.fromkeys(names))
    for name in names:
        if name == OURS or name not in known:
            raise UserError(f"compare = {name!r}: expected some of {', '.join(one for one in known if one != OURS)}")
    return {name: known[name] for name in names}


def contender(
    network: nn.Module,
    loss: Callable[[], Tensor],
    precision: torch.dtype,
    scaled: bool = False,
    parts: Mapping[str, str] | None = None,
) -> Contender:
    """Build a contender from a network and a function that computes its loss; arguments as in :func:`whole_step`."""
    held = _FLOATS_HELD * sum(parameter.numel() * parameter.element_size() for parameter in network.parameters())
    device = next(network.parameters()).device
    return Contender(whole_step(network, loss, precision, device, scaled), network, held, parts or {})


def whole_step(
    network: nn.Module, loss: Callable[[], Tensor], precision: torch.dtype, device: torch.device, scaled: bool = False
) -> Callable[[], None]:
    """Return a callable that runs the forward pass, the backward pass and AdamW.

    Args:
        network: The network to train.
        loss: Runs the forward pass and returns the loss.
        precision: Autocast dtype; float32 disables autocast.
        device: The network's device.
        scaled: Scale the loss with a ``GradScaler``, which waits for the device at each step.
    """
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-6, fused=True)
    scaler = torch.amp.GradScaler(device.type, enabled=scaled)

    def step() -> None:
        with autocast_to(device, precision):
            value = loss()
        scaler.scale(value).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()

    return step
