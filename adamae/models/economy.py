"""What ``--economy`` stands for: a cheaper sampler and a decoder budget."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol, TypeVar

from adamae.flags import flags_of
from adamae.models.registry import MODELS
from adamae.options.groups import ModelOptions, SamplerOptions
from adamae.samplers import DEFAULT, SAMPLERS, declared

# Of a run that is not economical.
_DECODER_BUDGET = 1.0


class HasModel(Protocol):
    """A dataclass of option groups that describes a pre-train model."""

    @property
    def model(self) -> ModelOptions:
        """The autoencoder."""

    @property
    def sampler(self) -> SamplerOptions:
        """Which tokens the encoder sees."""


Options = TypeVar("Options", bound=HasModel)


def apply_economy(options: Options) -> Options:
    """The same with values for what was left to ``--economy``; what was typed stays.

    Args:
        options: A dataclass with the groups "model" and "sampler".
    """
    model, sampler = options.model, options.sampler
    size = MODELS[model.model].arguments if model.model in MODELS else {}
    widths = model.encoder_embed_dim or size.get("encoder_embed_dim")
    # Of a pyramid, the first stage's.
    width = widths[0] if isinstance(widths, tuple) else widths
    # An unknown model's name is complained of where the model is built.
    cheap = economy_arguments(width, sampler.mask_type) if model.economy and width is not None else {}
    if model.decoder_budget is None:
        model = replace(model, decoder_budget=cheap.get("decoder_budget", _DECODER_BUDGET))
    usual = {name: value for each in SAMPLERS.values() for name, value in each.sampler_class.keywords().items()}
    left_open = [option.name for option in flags_of(type(sampler)) if getattr(sampler, option.name) is None]
    settled: dict[str, Any] = {name: cheap.get(name, usual.get(name)) for name in left_open}
    if sampler.mask_ratio is None:
        settled["mask_ratio"] = declared(sampler.mask_type).sampler_class.usual_ratio(**vars(sampler))
    sampler = replace(sampler, **settled)
    changed: Any = {"model": model, "sampler": sampler}
    return replace(options, **changed)  # type: ignore[type-var]


def economy_arguments(embed_dim: int, mask_type: str = DEFAULT) -> dict[str, Any]:
    """Arguments of a pre-train model that make a step cheaper.

    Each takes from a part that looks at all tokens: half of the tokens that the decoder reconstructs and, of the
    adaptive sampler, half of its width and, with no dropout behind its last MLP, the two products that such dropout
    costs (see :mod:`adamae.samplers.scored_mlp`). What they do to the result is measured in docs/benchmarks.

    Args:
        embed_dim: Width of the encoder.
        mask_type: Its sampler.

    Raises:
        UserError: If there is no such sampler.
    """
    sampler = declared(mask_type).economy
    return {"decoder_budget": 0.5, **(sampler(embed_dim) if sampler else {})}
