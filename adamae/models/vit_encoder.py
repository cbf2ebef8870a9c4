"""The plain ViT encoder."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from adamae.errors import UserError
from adamae.grid import TokenGrid
from adamae.layers.block import check_heads, initialise_xavier, recompute_blocks, stack
from adamae.layers.layer_norm import LayerNorm
from adamae.layers.positions import sinusoid_table
from adamae.layers.tokenizer import TubeletTokenizer
from adamae.models.encoder import Encoder
from adamae.randomness import SampleNoise
from adamae.selection import TokenSelection, gather_tokens

Positions = Literal["fixed", "learned", "separable"]


class VitEncoder(Encoder):
    """Tokenizer, position embedding, transformer blocks and a final norm.

    Args:
        grid: The clip's token grid.
        in_chans: Colour channels.
        embed_dim: Width D.
        depth: Blocks.
        num_heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over D.
        qkv_bias: Whether queries and values have a bias.
        init_values: Initial value of LayerScale, 0 for none.
        drop_rate: Dropout after the attention's projection and after the MLP.
        attn_drop_rate: Dropout on the attention weights.
        drop_path_rate: Stochastic depth of the last block; earlier ones have less.
        final_norm: Whether a LayerNorm follows the blocks.
        position_embedding: "fixed" is the sinusoidal table of the official code; "learned" is one vector for each
            token; "separable" is one for each spatial position plus one for each time, as in mae_st.
        cls_token: Whether to add a class token, as in mae_st. It is not among the outputs.

    Raises:
        UserError: If the width does not divide into the heads, or ``position_embedding`` is unknown.
    """

    family = "vit"
    first_layer = ("cls_token", "pos_embed", "pos_embed_spatial", "pos_embed_temporal", "pos_embed_class")
    positions: Tensor

    def __init__(
        self,
        grid: TokenGrid,
        *,
        in_chans: int = 3,
        embed_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        init_values: float | None = 0.0,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        final_norm: bool = True,
        position_embedding: Positions = "fixed",
        cls_token: bool = False,
    ) -> None:
        check_heads("encoder", embed_dim, num_heads)
        patch_embed = TubeletTokenizer(grid.tubelet_size, grid.patch_size, in_chans, embed_dim)
        super().__init__(grid, patch_embed, in_chans=in_chans, embed_dim=embed_dim, depth=depth)
        self._make_positions(position_embedding, embed_dim)
        self.cls_token = _learned_vectors(1, embed_dim) if cls_token else None
        if cls_token and position_embedding != "fixed":
            self.pos_embed_class = _learned_vectors(1, embed_dim)
        self.blocks = stack(
            depth,
            embed_dim,
            num_heads,
            mlp_ratio=mlp_ratio,
            qkv_bias=qkv_bias,
            init_values=init_values,
            drop_rate=drop_rate,
            attn_drop_rate=attn_drop_rate,
            drop_path_rate=drop_path_rate,
        )
        self.norm = LayerNorm(embed_dim) if final_norm else nn.Identity()
        self.vis_mask_token: nn.Parameter | None = None
        self.blocks.apply(initialise_xavier)

    def _make_positions(self, kind: Positions, embed_dim: int) -> None:
        self.position_embedding = kind
        if kind == "fixed":
            self.register_buffer("positions", sinusoid_table(self.grid.num_tokens, embed_dim), persistent=False)
        elif kind == "learned":
            self.pos_embed = _learned_vectors(self.grid.num_tokens, embed_dim)
        elif kind == "separable":
            self.pos_embed_spatial = _learned_vectors(self.grid.h * self.grid.w, embed_dim)
            self.pos_embed_temporal = _learned_vectors(self.grid.t, embed_dim)
        else:
            raise UserError(f"position_embedding = {kind!r}: expected fixed, learned or separable")

    def position_table(self) -> Tensor:
        """Return the position embedding (1, N, D)."""
        if self.position_embedding == "separable":
            return (self.pos_embed_temporal.unsqueeze(2) + self.pos_embed_spatial.unsqueeze(1)).flatten(1, 2)
        return self.positions if self.position_embedding == "fixed" else self.pos_embed

    def forward(self, seen: Tensor, noise: SampleNoise, selection: TokenSelection | None = None) -> Tensor:
        """Encode: see :meth:`~adamae.models.encoder.Encoder.forward`; (B, V, D) to (B, V, D)."""
        positions = self.position_table().to(seen.dtype)
        if selection is not None:
            seen = self.with_secondary_tokens(seen, self.vis_mask_token, selection)
            positions = gather_tokens(positions.expand(seen.shape[0], -1, -1), selection.visible)
        x = seen + positions
        if self.cls_token is not None:
            first = self.cls_token if self.position_embedding == "fixed" else self.cls_token + self.pos_embed_class
            x = torch.cat((first.to(x.dtype).expand(x.shape[0], -1, -1), x), dim=1)
        for number, block in enumerate(self.blocks):
            x = block(x, noise.fold_in(number))
        return self.norm(x if self.cls_token is None else x[:, 1:])

    def learn_secondary_token(self) -> None:
        """See :meth:`~adamae.models.encoder.Encoder.learn_secondary_token`."""
        self.vis_mask_token = _learned_vectors(1, self.embed_dim)

    def recompute_blocks(self, active: bool) -> None:
        """See :meth:`~adamae.models.encoder.Encoder.recompute_blocks`."""
        recompute_blocks(self.blocks, active)


def _learned_vectors(count: int, dim: int) -> nn.Parameter:
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(1, count, dim), std=0.02))
