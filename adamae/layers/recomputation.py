"""Activation checkpointing: activations of a part are recomputed in the backward pass instead of stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar

import torch
from torch.utils.checkpoint import checkpoint

# "decoder": all parts that process all tokens, which are the sampler, the decoder and the reconstruction loss.
# "all": the encoder as well.
CheckpointActivations = Literal["none", "decoder", "all"]
Result = TypeVar("Result")


def recomputed(active: bool, part: Callable[..., Result], *arguments: object, draws: bool = False) -> Result:
    """Return ``part(*arguments)`` and store only the arguments for the backward pass.

    Values and gradients are bitwise equal to those of a plain call.

    Args:
        active: Whether to recompute; False is a plain call, as is any call without gradients.
        part: Function to call. Its random numbers must depend only on its arguments, as those of
            :class:`~adamae.randomness.SampleNoise` do, unless ``draws`` is set.
        *arguments: Tensors that need a gradient must be arguments themselves, not inside other objects.
        draws: Whether ``part`` draws from torch's generator, whose state is then saved and restored for the
            recomputation.
    """
    if not (active and torch.is_grad_enabled()):
        return part(*arguments)
    result: Result = checkpoint(part, *arguments, use_reentrant=False, preserve_rng_state=draws)
    return result
