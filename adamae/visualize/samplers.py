"""Samplers with which a pre-trained model is shown: its own, at any mask ratio, or others."""

from __future__ import annotations

import copy
from typing import Any

from adamae.errors import UserError
from adamae.models import Pretrainer
from adamae.samplers import SAMPLERS, build_sampler, declaration_of, declared
from adamae.samplers.cells import CellSampler
from adamae.samplers.sampler import Sampler


def own_mask_type(model: Pretrainer) -> str:
    """Return the name of the model's own sampler."""
    return declaration_of(model.sampler).name


def sampler_of(model: Pretrainer, mask_type: str, mask_ratio: float) -> Sampler:
    """Return a sampler for a model: its own learned one with any mask ratio, or one that is not learned.

    Args:
        model: The autoencoder.
        mask_type: A key of ``SAMPLERS``.
        mask_ratio: Fraction of tokens to mask.

    Raises:
        UserError: If the model has no learned sampler or another one, the name is unknown, no token would be visible
            or none masked, or the encoder does not support the sampler.
    """
    if mask_type == own_mask_type(model):
        # A shallow copy shares weights and settings; only the ratio differs.
        sampler = copy.copy(model.sampler)
        sampler.mask_ratio = mask_ratio
        sampler.num_visible(model.grid)
        return sampler
    if declared(mask_type).sampler_class.learns:
        others = tuple(name for name, other in SAMPLERS.items() if not other.sampler_class.learns)
        own_type = own_mask_type(model)
        if model.sampler.learns:
            has, others = f"'s sampler is {own_type}", (own_type, *others)
        else:
            has = " has no learned sampler"
        raise UserError(f"mask_type {mask_type}: the checkpoint{has}, expected one of {', '.join(others)}")
    own = model.sampler
    # Secondary masks are used only if the encoder has learned a token for them.
    options: dict[str, Any] = {"secondary_mask_ratio": 0.0}
    if isinstance(own, CellSampler):
        options = {"secondary_mask_ratio": own.secondary_mask_ratio, "uniform_sampling": own.uniform_sampling}
    sampler = build_sampler(mask_type, mask_ratio, model.grid, model.encoder.patch_embed.embed_dim, **options)
    model.encoder.check_sampler(sampler)
    return sampler
