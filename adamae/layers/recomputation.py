"""Activation checkpointing: results between a part's input and its output are computed twice instead of kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar

import torch
from torch.utils.checkpoint import checkpoint

# "decoder": whatever looks at all tokens, which is the sampler, the decoder and the reconstruction loss.
# "all": the encoder as well.
CheckpointActivations = Literal["none", "decoder", "all"]
Result = TypeVar("Result")


def recomputed(active: bool, part: Callable[..., Result], *arguments: object, draws: bool = False) -> Result:
    """``part(*arguments)``, bit for bit, with its gradients; only the arguments are kept for the backward pass.

    Args:
        active: Whether to do so; False is a plain call, as is any call without gradients.
        part: May return tensors. Its randomness must follow from its arguments, as that of
            :class:`~adamae.randomness.SampleNoise` does, or ``draws`` must say that it does not.
        *arguments: Tensors that need a gradient have to be among them and not inside of others.
        draws: It draws from torch's generator, whose state is then kept and put back for the second time.
    """
    if not (active and torch.is_grad_enabled()):
        return part(*arguments)
    result: Result = checkpoint(part, *arguments, use_reentrant=False, preserve_rng_state=draws)
    return result
