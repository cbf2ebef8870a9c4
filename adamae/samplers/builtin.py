"""The samplers of this package. To add one, add a module to this package and an entry here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from adamae.flags import LARGEST_WIDTH, MOST_BLOCKS, OptionGroup, flag
from adamae.samplers.declaration import Declaration

_VIDEOMAE = "VideoMAE: masked autoencoder without a learned sampler"


@dataclass(frozen=True)
class AdaptiveOptions(OptionGroup):
    """The network of the adaptive sampler."""

    sampler_network: Literal["mha", "mlp"] = flag("mha", "mha: transformer blocks (paper); mlp: token-wise layers")
    sampler_depth: int = flag(1, "number of sampler blocks", least=1, limit=MOST_BLOCKS)
    sampler_dim: int | None = flag(
        None,
        "embedding dimension of the sampler; none: that of the encoder, or half of it with --economy",
        least=1,
        limit=LARGEST_WIDTH,
    )
    sampler_drop_rate: float | None = flag(
        None, "dropout of the sampler; none: 0.1, or 0 with --economy", least=0, below=1
    )


@dataclass(frozen=True)
class MotionOptions(OptionGroup):
    """What the motion-aware sampler keeps."""

    keep_ratio: float = flag(
        0.3, "motion: fraction of tokens that are visible or predicted; the rest is dropped", above=0, most=1
    )


@dataclass(frozen=True)
class UniformOptions(OptionGroup):
    """Uniform masks: one visible token in each cell."""

    uniform_sampling: Literal["tube", "step", "octet"] = flag(
        "tube",
        "uniform: one visible token in each cell of 2x2 tokens, at the same position in all frames (tube) or not "
        "(step), or in each cell of 2x2x2 tokens (octet)",
    )
    secondary_mask_ratio: float = flag(
        0.25, "uniform: fraction of the visible tokens that are replaced by a learned mask token", least=0, below=1
    )


ADAPTIVE = Declaration(
    "learnable",
    "adamae.samplers.adaptive:AdaptiveSampler",
    "adaptive sampling (AdaMAE)",
    options=AdaptiveOptions,
    label="adaptive",
    method="AdaMAE: masked autoencoder with an adaptive sampler",
    published_ratio=0.95,
    weight_options=("sampler_network", "sampler_depth", "sampler_dim", "sampler_mlp_ratio"),
    economy=lambda embed_dim: {"sampler_dim": embed_dim // 2, "sampler_drop_rate": 0.0},
)
RANDOM = Declaration(
    "random",
    "adamae.samplers.random:RandomSampler",
    "random tokens",
    method=_VIDEOMAE,
    published_ratio=0.9,
)
TUBE = Declaration(
    "tube",
    "adamae.samplers.tube:TubeSampler",
    "the same spatial positions in all frames",
    method=_VIDEOMAE,
    published_ratio=0.9,
)
FRAME = Declaration(
    "frame",
    "adamae.samplers.frame:FrameSampler",
    "whole frames",
    method=_VIDEOMAE,
    published_ratio=0.875,
)
MOTION = Declaration(
    "motion",
    "adamae.samplers.motion:MotionSampler",
    "random tokens among those with the most motion",
    options=MotionOptions,
    method="MATS: masked autoencoder with motion-aware masks",
    published_ratio=0.9,
)
UNIFORM = Declaration(
    "uniform",
    "adamae.samplers.uniform:UniformSampler",
    "one visible token in each cell (UM-MAE)",
    options=UniformOptions,
    method="UM-MAE: masked autoencoder with uniform masks",
    published_ratio=0.75,
)
ADAPTIVE_UNIFORM = Declaration(
    "adaptive_uniform",
    "adamae.samplers.adaptive_uniform:AdaptiveUniformSampler",
    "one visible token in each cell, chosen by an adaptive sampler",
    options=UniformOptions,
    label="adaptive uniform",
    method="masked autoencoder with an adaptive sampler on uniform cells",
    published_ratio=0.75,
    weight_options=ADAPTIVE.weight_options,
    economy=ADAPTIVE.economy,
)

BUILT_IN = (ADAPTIVE, RANDOM, TUBE, FRAME, MOTION, UNIFORM, ADAPTIVE_UNIFORM)
