"""Patch embedding of the pyramid encoders."""

from __future__ import annotations

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from adamae.checks import check_count
from adamae.grid import TokenGrid
from adamae.layers.layer_norm import LayerNorm
from adamae.layers.tokenizer import Tokenizer

# Pixels along a patch's side.
PATCH_SIZE = 4


class PatchTokenizer(Tokenizer):
    """Divides each token of the grid, a unit, into smaller patches and projects them.

    The weight is stored as that of a Conv2d for single images (one frame, in tubelets of one), else as that of a
    Conv3d.

    Args:
        grid: The grid of units.
        in_chans: Colour channels.
        patch_dim: Width C of a patch.
        norm: Whether a LayerNorm follows.
        patch_size: Pixels along a patch's side; with the grid's patch size a unit is one patch.
    """

    def __init__(
        self, grid: TokenGrid, in_chans: int, patch_dim: int, *, norm: bool, patch_size: int = PATCH_SIZE
    ) -> None:
        check_count("in_chans", in_chans)
        self.patch_size = patch_size
        self.patches = grid.patch_size // patch_size
        super().__init__(self.patches**2 * patch_dim)
        self.tubelet_size = grid.tubelet_size
        side = (patch_size, patch_size)
        if grid.is_image:
            self.proj: nn.Conv2d | nn.Conv3d = nn.Conv2d(in_chans, patch_dim, side, side)
        else:
            kernel = (grid.tubelet_size, *side)
            self.proj = nn.Conv3d(in_chans, patch_dim, kernel, kernel)
        self.norm = LayerNorm(patch_dim) if norm else None

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, N, P) pixels, colour fastest, to (B, N, k * k * C): the k * k patches of each unit in raster order."""
        k = self.patches
        patches = rearrange(
            pixels,
            "b n (f i p j q c) -> b n (i j) (f p q c)",
            f=self.tubelet_size,
            i=k,
            j=k,
            p=self.patch_size,
            q=self.patch_size,
        )
        # Move the colour channels from the second to the last axis.
        matrix = self.proj.weight.movedim(1, -1).flatten(1)
        x = F.linear(patches, matrix, self.proj.bias)
        return (x if self.norm is None else self.norm(x)).flatten(2)
