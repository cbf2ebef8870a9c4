"""Activation memory kept from the forward to the backward pass; counted, so it is the same on every run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from weakref import WeakSet

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from adamae.models import Pretrainer
from adamae.precision import autocast_to


@dataclass(frozen=True)
class ActivationMemory:
    """Bytes kept from the forward to the backward pass, as a linear function of the batch size.

    Attributes:
        per_clip: Bytes of each additional clip.
        fixed: Bytes independent of the batch, mostly the weights' copies in half precision.
    """

    per_clip: int
    fixed: int


def activation_memory(model: Pretrainer, precision: torch.dtype = torch.float32) -> ActivationMemory:
    """Count the bytes that a pre-train step keeps, for batches of one and of two clips.

    Args:
        model: The model, in training mode.
        precision: Autocast dtype; float32 disables autocast.
    """
    device = next(model.parameters()).device

    def kept(batch: int) -> int:
        clips = torch.zeros(batch, *model.clip_shape, dtype=torch.uint8, device=device)
        seeds = torch.arange(batch, device=device)
        already_there = [clips, seeds, *model.parameters(), *model.buffers()]
        with autocast_to(device, precision):
            return count_kept_bytes(lambda: model(clips, seeds=seeds).losses["loss"], already_there)

    one, two = kept(1), kept(2)
    return ActivationMemory(per_clip=two - one, fixed=2 * one - two)


def count_kept_bytes(forward: Callable[[], Tensor], already_there: Iterable[Tensor] = ()) -> int:
    """Return the bytes of all storages that autograd keeps after ``forward``.

    A view keeps its complete storage, so the complete storage is counted, once.

    Args:
        forward: Runs a forward pass.
        already_there: Tensors that exist in any case, such as parameters and the batch; they are not counted.
    """
    # Only the graph references these, so parts of the graph that were already freed are not counted.
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
    """Return an identifier of the tensor's storage; tensors without values have no address."""
    return x.untyped_storage()._cdata
