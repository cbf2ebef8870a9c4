"""What ``--economy`` stands for: a cheaper sampler and a decoder budget."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol, TypeVar

from adamae.models.registry import MODELS
from adamae.options.groups import ModelOptions, SamplerOptions

# Of a run that is not economical.
_DECODER_BUDGET = 1.0
_SAMPLER_DROP_RATE = 0.1


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
    width = model.encoder_embed_dim or size.get("encoder_embed_dim")
    # An unknown model's name is complained of where the model is built.
    cheap = economy_arguments(width) if model.economy and width is not None else {}
    if model.decoder_budget is None:
        model = replace(model, decoder_budget=cheap.get("decoder_budget", _DECODER_BUDGET))
    learned = sampler.mask_type == "learnable"
    if sampler.sampler_drop_rate is None:
        rate = cheap.get("sampler_drop_rate") if learned else None
        sampler = replace(sampler, sampler_drop_rate=_SAMPLER_DROP_RATE if rate is None else rate)
    if learned and sampler.sampler_dim is None:
        sampler = replace(sampler, sampler_dim=cheap.get("sampler_dim"))
    changed: Any = {"model": model, "sampler": sampler}
    return replace(options, **changed)  # type: ignore[type-var]


def economy_arguments(embed_dim: int) -> dict[str, Any]:
    """Arguments of :class:`~adamae.models.pretrainer.Pretrainer` that make a step cheaper.

    Each takes from a part that looks at all tokens: half of the sampler's width, half of the tokens that the decoder
    reconstructs, and, with no dropout behind the sampler's last MLP, the two products that such dropout costs (see
    :mod:`adamae.samplers.scored_mlp`). What they do to the result is measured in docs/benchmarks.

    Args:
        embed_dim: Width of the encoder.
    """
    return {"decoder_budget": 0.5, "sampler_dim": embed_dim // 2, "sampler_drop_rate": 0.0}
