"""The settings of ``--economy``: a cheaper sampler and a decoder budget."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol, TypeVar

from adamae.flags import flags_of
from adamae.models.registry import MODELS
from adamae.options.groups import ModelOptions, SamplerOptions
from adamae.samplers import DEFAULT, SAMPLERS, declared

# Default without --economy.
_DECODER_BUDGET = 1.0


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
    if model.decoder_budget is None:
        model = replace(model, decoder_budget=cheap.get("decoder_budget", _DECODER_BUDGET))
    # The sampler's own defaults come first. Options of others are recorded too, and have no effect.
    usual: dict[str, Any] = {}
    for each in (declared(sampler.mask_type), *SAMPLERS.values()):
        usual = each.sampler_class.keywords() | usual
    left_open = [option.name for option in flags_of(type(sampler)) if getattr(sampler, option.name) is None]
    settled: dict[str, Any] = {name: cheap.get(name, usual.get(name)) for name in left_open}
    if sampler.mask_ratio is None:
        settled["mask_ratio"] = declared(sampler.mask_type).sampler_class.usual_ratio(**vars(sampler))
    sampler = replace(sampler, **settled)
    changed: Any = {"model": model, "sampler": sampler}
    return replace(options, **changed)  # type: ignore[type-var]


def economy_arguments(embed_dim: int, mask_type: str = DEFAULT) -> dict[str, Any]:
    """Return arguments of a pre-train model that make a step cheaper.

    They reduce the cost of parts that process all tokens: the decoder reconstructs half of the masked tokens, the
    adaptive sampler has half the width, and its dropout is off, which saves the two matrix products that dropout after
    its last MLP requires (see :mod:`adamae.samplers.scored_mlp`). docs/benchmarks has measurements of their effect.

    Args:
        embed_dim: Width of the encoder.
        mask_type: Name of the sampler.

    Raises:
        UserError: If the sampler is unknown.
    """
    sampler = declared(mask_type).economy
    return {"decoder_budget": 0.5, **(sampler(embed_dim) if sampler else {})}
