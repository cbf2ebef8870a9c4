"""Blocks shared by both pyramid encoders."""

from __future__ import annotations

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from adamae.layers.block import Mlp
from adamae.layers.dropping import drop_path
from adamae.layers.layer_norm import LayerNorm
from adamae.layers.recomputation import recomputed
from adamae.randomness import SampleNoise

# In the official code blocks use PyTorch's default epsilon; patch_embed, merges and final norms use 1e-6.
BLOCK_NORM_EPS = 1e-5


class Merge(nn.Module):
    """Patch merging: 2x2 patches become one of another width, with the weights of a Conv2d of stride 2.

    Args:
        dim: Width C.
        out_dim: Width C'.
        norm: Whether a LayerNorm comes first.
    """

    def __init__(self, dim: int, out_dim: int, *, norm: bool) -> None:
        super().__init__()
        self.norm = LayerNorm(dim) if norm else None
        self.proj = nn.Conv2d(dim, out_dim, kernel_size=2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, H, W, C) to (B, T, H/2, W/2, C')."""
        x = x if self.norm is None else self.norm(x)
        x = rearrange(x, "b t (h i) (w j) c -> b t h w (c i j)", i=2, j=2)
        return F.linear(x, self.proj.weight.flatten(1), self.proj.bias)


class PyramidBlock(nn.Module):
    """Pre-norm block; the first block of a stage owns the merge before it.

    Args:
        dim: Width C.
        mlp_ratio: Hidden width of the MLP over C.
        drop_path_rate: Probability that a clip skips a branch.
        attention: Computes the attention branch from patches, norm and the object shared by the stage's blocks.
        downsample: The merge before the block, or None.

    Attributes:
        recompute: Store only the input for the backward pass and recompute the rest.
    """

    recompute = False

    def __init__(
        self, dim: int, attention: nn.Module, *, mlp_ratio: float, drop_path_rate: float, downsample: Merge | None
    ) -> None:
        super().__init__()
        self.norm1 = LayerNorm(dim, BLOCK_NORM_EPS)
        self.attn = attention
        self.norm2 = LayerNorm(dim, BLOCK_NORM_EPS)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.downsample = downsample
        self.drop_path_rate = drop_path_rate

    def forward(self, x: Tensor, noise: SampleNoise, shared: object) -> Tensor:
        """(B, T, H, W, C) to the same shape; the caller applies ``downsample`` first, because ``shared`` depends on it.

        Args:
            x: Patches.
            noise: Noise for stochastic depth.
            shared: Object shared by the attention of the stage's blocks.
        """
        return recomputed(self.recompute, self._forward, x, noise, shared)

    def _forward(self, x: Tensor, noise: SampleNoise, shared: object) -> Tensor:
        x = x + self._dropped(self.attn(x, self.norm1, shared), noise, 0)
        return x + self._dropped(self.mlp(x, self.norm2), noise, 1)

    def _dropped(self, x: Tensor, noise: SampleNoise, number: int) -> Tensor:
        if self.training and self.drop_path_rate > 0:
            return drop_path(x, self.drop_path_rate, noise.fold_in(number))
        return x
