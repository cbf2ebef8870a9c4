"""What a forward pass keeps in memory for its backward pass: counted, not timed, and the same on every run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from weakref import WeakSet

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from adamae.models import Pretrainer


@dataclass(frozen=True)
class ActivationMemory:
    """Bytes kept from the forward to the backward pass, as a straight line over the batch size.

    Attributes:
        per_clip: What each further clip adds.
        fixed: What does not depend on the batch: above all the weights' copies in half precision.
    """

    per_clip: int
    fixed: int


def activation_memory(model: Pretrainer, precision: torch.dtype = torch.float32) -> ActivationMemory:
    """Count what a pre-train step keeps, at batches of one and of two clips.

    Args:
        model: In training mode.
        precision: Autocast to this type; float32 runs without.
    """
    device = next(model.parameters()).device
    frames, height, width = model.frame_choice.candidates.clip_shape
    channels = model.pixel_values.mean.numel()

    def kept(batch: int) -> int:
        clips = torch.zeros(batch, frames, height, width, channels, dtype=torch.uint8, device=device)
        seeds = torch.arange(batch, device=device)
        already_there = [clips, seeds, *model.parameters(), *model.buffers()]
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            return count_kept_bytes(lambda: model(clips, seeds=seeds).losses["loss"], already_there)

    one, two = kept(1), kept(2)
    return ActivationMemory(per_clip=two - one, fixed=2 * one - two)


def count_kept_bytes(forward: Callable[[], Tensor], already_there: Iterable[Tensor] = ()) -> int:
    """Bytes of all storages that autograd keeps after ``forward``.

    A tensor that is a view keeps its whole storage, and so its whole storage counts, once.

    Args:
        forward: Runs a forward pass.
        already_there: Tensors that exist anyway, such as parameters and the batch: they do not count.
    """
    # The graph alone holds these, so what belongs to a part of it that was let go of is gone and does not count.
    kept: WeakSet[_Kept] = WeakSet()

    def note(x: Tensor) -> _Kept:
        held = _Kept(x)
        kept.add(held)
        return held

    with saved_tensors_hooks(note, lambda held: held.tensor):
        loss = forward()
    known = {_identity(x) for x in already_there}
    storages = {_identity(held.tensor): held.tensor.untyped_storage().nbytes() for held in kept}
    del loss
    return sum(size for identity, size in storages.items() if identity not in known)


class _Kept:
    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def _identity(x: Tensor) -> int:
    """Of its storage; tensors without values have no address."""
    return x.untyped_storage()._cdata
