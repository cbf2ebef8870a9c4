"""Which tokens to look at: every strategy behind one contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from adamae.errors import UserError
from adamae.grid import TokenGrid
from adamae.samplers.adaptive import AdaptiveSampler
from adamae.samplers.motion import MotionSampler
from adamae.samplers.random import FrameSampler, RandomSampler, TubeSampler
from adamae.samplers.sampler import Sampler

__all__ = [
    "SAMPLERS",
    "AdaptiveSampler",
    "FrameSampler",
    "MotionSampler",
    "RandomSampler",
    "Sampler",
    "TubeSampler",
    "build_sampler",
]

SAMPLERS: dict[str, Callable[..., Sampler]] = {
    "learnable": AdaptiveSampler,
    "random": RandomSampler,
    "tube": TubeSampler,
    "frame": FrameSampler,
    "motion": MotionSampler,
}


def build_sampler(
    mask_type: str,
    mask_ratio: float,
    grid: TokenGrid,
    embed_dim: int,
    *,
    keep_ratio: float = 0.3,
    **learned: Any,
) -> Sampler:
    """The sampler that launch scripts call ``mask_type``.

    Args:
        mask_type: A key of :data:`SAMPLERS`.
        mask_ratio: Share of tokens that are hidden.
        grid: The clip's tokens.
        embed_dim: Width of the tokens.
        keep_ratio: Option of :class:`MotionSampler`.
        **learned: Options of :class:`AdaptiveSampler`; the others have none.

    Raises:
        UserError: If the name is unknown, or the ratio leaves nothing to see or nothing to predict on this grid.
    """
    if mask_type not in SAMPLERS:
        raise UserError(f"mask_type = {mask_type!r}: expected one of {', '.join(SAMPLERS)}")
    if mask_type == "learnable":
        sampler: Sampler = AdaptiveSampler(mask_ratio, grid.num_tokens, embed_dim, **learned)
    elif mask_type == "motion":
        sampler = MotionSampler(mask_ratio, keep_ratio)
    else:
        sampler = SAMPLERS[mask_type](mask_ratio)
    sampler.num_visible(grid)
    return sampler
