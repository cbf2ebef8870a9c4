"""Upsampling of a pyramid's features to one token for each cell."""

from __future__ import annotations

from einops import rearrange
from torch import Tensor, nn

from adamae.models.pyramid.encoder import PyramidEncoder
from adamae.selection import TokenSelection, gather_tokens


class CellExpansion(nn.Linear):
    """A linear layer and PixelShuffle: each feature becomes the tokens of 2x2 cells.

    Args:
        encoder: The encoder that computes the features.
        embed_dim: Width D' of the decoder.
        released_order: Leave the tokens in the order of their cells although the decoder adds positions in the order of
            the visible units, as in the official code: at 256 pixels three quarters of the tokens then get the position
            of another token. Required for weights that were trained in this way.
    """

    def __init__(self, encoder: PyramidEncoder, embed_dim: int, *, released_order: bool = False) -> None:
        super().__init__(encoder.embed_dim, 4 * embed_dim)
        assert encoder.pattern is not None
        self.pattern, self.grid = encoder.pattern, encoder.grid
        self.released_order = released_order

    def forward(self, latent: Tensor, selection: TokenSelection) -> Tensor:  # type: ignore[override]
        """(B, T * H/2 * W/2, 8C) features to (B, V, D') in the order of ``selection.visible``."""
        t, h, w = self.pattern.cells(self.grid)
        tokens = rearrange(
            super().forward(latent), "b (t h w) (c i j) -> b (t h i w j) c", t=t, h=h // 2, w=w // 2, i=2, j=2
        )
        if self.released_order:
            return tokens
        return gather_tokens(tokens, self.pattern.cell_of(self.grid, tokens.device)[selection.visible])
