"""What the economical mode changes in a network that learns to sample."""

from __future__ import annotations

from typing import Any


def economy_arguments(embed_dim: int) -> dict[str, Any]:
    """Arguments of :class:`~adamae.models.pretrainer.Pretrainer` that make a step cheaper.

    Each takes from a part that looks at all tokens: half of the sampler's width, half of the tokens that the decoder
    reconstructs, and, with no dropout behind the sampler's last MLP, the two products that such dropout costs (see
    :mod:`adamae.samplers.scored_mlp`). What they do to the result is measured in docs/benchmarks.

    Args:
        embed_dim: Width of the encoder.
    """
    return {"decoder_budget": 0.5, "sampler_dim": embed_dim // 2, "sampler_drop_rate": 0.0}
