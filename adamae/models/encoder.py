"""The ViT encoder."""

from __future__ import annotations

from torch import Tensor, nn

from adamae.grid import TokenGrid
from adamae.layers.block import LayerNorm, initialise_xavier, stack
from adamae.layers.positions import sinusoid_table
from adamae.layers.tokenizer import TubeletTokenizer
from adamae.randomness import SampleNoise
from adamae.selection import gather_tokens


class Encoder(nn.Module):
    """Tokenizer, fixed positions, transformer blocks and a last norm.

    Args:
        grid: The clip's tokens.
        in_chans: Colour channels.
        embed_dim: Width D.
        depth: Blocks.
        num_heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over D.
        qkv_bias: Whether queries and values have a bias.
        init_values: Start value of LayerScale, 0 for none.
        drop_rate: Dropout after the attention's projection and after the MLP.
        attn_drop_rate: Dropout on the attention weights.
        drop_path_rate: Stochastic depth of the last block; earlier ones have less.
        final_norm: Whether a LayerNorm follows the blocks.
    """

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
    ) -> None:
        super().__init__()
        self.grid = grid
        self.patch_embed = TubeletTokenizer(grid.tubelet_size, grid.patch_size, in_chans, embed_dim)
        self.register_buffer("positions", sinusoid_table(grid.num_tokens, embed_dim), persistent=False)
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
        self.blocks.apply(initialise_xavier)

    def forward(self, tokens: Tensor, noise: SampleNoise, visible: Tensor | None = None) -> Tensor:
        """Encode tokens.

        Args:
            tokens: (B, N, D) from ``patch_embed``, without positions.
            noise: What stochastic depth draws from.
            visible: (B, V) which tokens to encode; None for all.

        Returns:
            (B, V, D) in the order of ``visible``.
        """
        positions = self.positions.to(tokens.dtype)
        if visible is None:
            x = tokens + positions
        else:
            x = gather_tokens(tokens, visible) + gather_tokens(positions.expand(len(tokens), -1, -1), visible)
        for number, block in enumerate(self.blocks):
            x = block(x, noise.child(number))
        return self.norm(x)
