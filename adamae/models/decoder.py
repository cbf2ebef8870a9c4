"""The decoder: from encoded visible tokens to the pixels of the target tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adamae.errors import UserError
from adamae.grid import TokenGrid
from adamae.layers.block import check_heads, initialise_xavier, stack
from adamae.layers.layer_norm import LayerNorm
from adamae.layers.positions import sinusoid_table
from adamae.layers.recomputing_linear import norm_linear
from adamae.randomness import SampleNoise
from adamae.selection import TokenSelection, gather_tokens


class Decoder(nn.Module):
    """Transformer blocks over visible and target tokens; norm and head on the targets only.

    Args:
        grid: The clip's token grid.
        num_outputs: Values P to predict for each token.
        embed_dim: Width D'.
        depth: Blocks.
        num_heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over D'.
        qkv_bias: Whether queries and values have a bias.
        init_values: Initial value of LayerScale, 0 for none.
        drop_path_rate: Stochastic depth of the last block.
        positions: (1, E + N, D') fixed position embedding, stored in the state dict: first E rows for extra tokens that
            come before the visible ones, then N rows for the grid. None: one-dimensional sines and cosines for N
            tokens, not stored in the state dict.
        key_bias: See :class:`~adamae.layers.attention.Attention`.

    Raises:
        UserError: If the width does not divide into the heads, there is no block, or the rate is not in [0, 1).
    """

    positions: Tensor

    def __init__(
        self,
        grid: TokenGrid,
        num_outputs: int,
        *,
        embed_dim: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        init_values: float | None = 0.0,
        drop_path_rate: float = 0.0,
        positions: Tensor | None = None,
        key_bias: bool = False,
    ) -> None:
        super().__init__()
        check_heads("decoder", embed_dim, num_heads)
        if depth < 1:
            raise UserError(f"decoder depth = {depth}: expected at least 1")
        self.grid = grid
        self.num_outputs = num_outputs
        self.embed_dim = embed_dim
        given = positions is not None
        table = positions if positions is not None else sinusoid_table(grid.num_tokens, embed_dim)
        self.register_buffer("positions", table, persistent=given)
        self.num_extra = table.shape[1] - grid.num_tokens
        self.blocks = stack(
            depth,
            embed_dim,
            num_heads,
            mlp_ratio=mlp_ratio,
            qkv_bias=qkv_bias,
            init_values=init_values,
            drop_path_rate=drop_path_rate,
            key_bias=key_bias,
        )
        self.norm = LayerNorm(embed_dim)
        self.head = nn.Linear(embed_dim, num_outputs)
        self.apply(initialise_xavier)

    def forward(self, encoded: Tensor, mask_token: Tensor, selection: TokenSelection, noise: SampleNoise) -> Tensor:
        """Predict the pixels of the target tokens.

        Args:
            encoded: (B, E + V, D') E extra tokens and the visible tokens in the decoder's width.
            mask_token: (1, 1, D') input for a masked token.
            selection: Indices of visible and target tokens.
            noise: Noise for stochastic depth.

        Returns:
            (B, M, P) in the order of ``selection.target``.
        """
        return self.predict(self.decode(encoded, mask_token, selection, noise))

    def decode(self, encoded: Tensor, mask_token: Tensor, selection: TokenSelection, noise: SampleNoise) -> Tensor:
        """Apply the blocks: the arguments of :meth:`forward` to target tokens (B, M, D')."""
        table = self.positions.to(encoded.dtype).expand(encoded.shape[0], -1, -1)
        extra, positions = table[:, : self.num_extra], table[:, self.num_extra :]
        visible = encoded + torch.cat((extra, gather_tokens(positions, selection.visible)), dim=1)
        masked = mask_token.to(encoded.dtype) + gather_tokens(positions, selection.target)
        x = torch.cat((visible, masked), dim=1)
        *blocks, last = self.blocks
        for number, block in enumerate(blocks):
            x = block(x, noise.fold_in(number))
        return last(x, noise.fold_in(len(blocks)), visible.shape[1])

    def predict(self, x: Tensor) -> Tensor:
        """Apply norm and head: (B, M, D') to (B, M, P)."""
        return norm_linear(x, self.norm, self.head)
