"""The settings of ``--economy`` for a model: a cheaper sampler and a decoder budget."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol, TypeVar

from adamae.flags import flags_of
from adamae.models.registry import MODELS
from adamae.options.economy import economy_arguments, full_arguments
from adamae.options.groups import ModelOptions, SamplerOptions
from adamae.samplers import declared


class HasModel(Protocol):
    """A dataclass of option groups that describes a pre-train model."""

    @property
    def model(self) -> ModelOptions:
        """Options of the autoencoder."""

    @property
    def sampler(self) -> SamplerOptions:
        """Options of the sampler."""


Options = TypeVar("Options", bound=HasModel)


def apply_economy(options: Options) -> Options:
    """Return ``options`` with values for all options that depend on ``--economy``; given values do not change.

    Args:
        options: A dataclass with the groups "model" and "sampler".
    """
    model, sampler = options.model, options.sampler
    size = MODELS[model.model].arguments if model.model in MODELS else {}
    widths = model.encoder_embed_dim or size.get("encoder_embed_dim")
    # For a pyramid, the width of the first stage.
    width = widths[0] if isinstance(widths, tuple) else widths
    # If the model's name is unknown, building the model raises the error.
    cheap = economy_arguments(width, sampler.mask_type) if model.economy and width is not None else {}
    # Options of other samplers are recorded too, and have no effect.
    values = full_arguments(sampler.mask_type) | cheap
    if model.decoder_budget is None:
        model = replace(model, decoder_budget=values["decoder_budget"])
    left_open = [option.name for option in flags_of(type(sampler)) if getattr(sampler, option.name) is None]
    settled: dict[str, Any] = {name: values.get(name) for name in left_open}
    if sampler.mask_ratio is None:
        settled["mask_ratio"] = declared(sampler.mask_type).sampler_class.usual_ratio(**vars(sampler))
    sampler = replace(sampler, **settled)
    changed: Any = {"model": model, "sampler": sampler}
    return replace(options, **changed)  # type: ignore[type-var]
