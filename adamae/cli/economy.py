"""What ``--economy`` stands for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol, TypeVar

from adamae.options.groups import ModelOptions, SamplerOptions

# Both halve a part that looks at all tokens, and hardly change what is learned: docs/benchmarks tells by how much.
DECODER_BUDGET = 0.5
SAMPLER_SHARE = 0.5


class HasModel(Protocol):
    """A dataclass of option groups that describes a pre-train model."""

    @property
    def model(self) -> ModelOptions:
        """The autoencoder."""

    @property
    def sampler(self) -> SamplerOptions:
        """Which tokens the encoder sees."""


Options = TypeVar("Options", bound=HasModel)


def economised(options: Options) -> Options:
    """The same with values for what was left to ``--economy``; what was typed stays.

    Args:
        options: A dataclass with the groups "model" and "sampler".
    """
    # Brings torch along, which no help text waits for.
    from adamae.models.registry import MODELS

    model, sampler = options.model, options.sampler
    if model.decoder_budget is None:
        model = replace(model, decoder_budget=DECODER_BUDGET if model.economy else 1.0)
    _, size = MODELS.get(model.model, (None, {}))
    width = model.encoder_embed_dim or size.get("encoder_embed_dim")
    # An unknown model's name is complained of where the model is built.
    if model.economy and sampler.mask_type == "learnable" and sampler.sampler_dim is None and width is not None:
        sampler = replace(sampler, sampler_dim=int(width * SAMPLER_SHARE))
    changed: Any = {"model": model, "sampler": sampler}
    return replace(options, **changed)  # type: ignore[type-var]
