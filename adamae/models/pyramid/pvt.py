"""The PVT encoder: every patch attends to pooled patches of the complete clip."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adamae.checks import check_count
from adamae.grid import TokenGrid
from adamae.layers.attention import attend
from adamae.layers.block import check_heads, initialise_normal
from adamae.layers.dropping import drop_path_rates
from adamae.layers.layer_norm import LayerNorm
from adamae.layers.positions import sincos_2d_table, sinusoid_table
from adamae.layers.recomputing_linear import norm_linear
from adamae.models.pyramid.blocks import BLOCK_NORM_EPS, Merge, PyramidBlock
from adamae.models.pyramid.encoder import PyramidEncoder
from adamae.models.pyramid.layout import Layout
from adamae.samplers.cells import CellPattern
from adamae.selection import gather_tokens


class PooledAttention(nn.Module):
    """Attention to spatially pooled patches: average pooling, 1x1 convolution, LayerNorm, keys and values.

    Args:
        dim: Width C.
        num_heads: Attention heads.
        pool: Side of the pooling kernel in patches; 1: no pooling, but convolution and norm.
    """

    def __init__(self, dim: int, num_heads: int, pool: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.pool = pool
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)
        self.sr = nn.Conv2d(dim, dim, kernel_size=1)
        self.norm = LayerNorm(dim, BLOCK_NORM_EPS)

    def forward(self, x: Tensor, norm: nn.Module, shared: object) -> Tensor:
        """(B, T, H, W, C) to the same; ``norm`` is applied first."""
        shape, side = x.shape, self.pool
        x = norm(x)
        pooled = x.unflatten(3, (-1, side)).unflatten(2, (-1, side)).mean(dim=(3, 5)) if side > 1 else x
        pooled = F.linear(pooled.flatten(1, 3), self.sr.weight.flatten(1), self.sr.bias)
        query = self._heads(self.q(x.flatten(1, 3)))
        key, value = map(self._heads, norm_linear(pooled, self.norm, self.kv).chunk(2, dim=2))
        return self.proj(attend(query, key, value).transpose(1, 2).flatten(2)).view(shape)

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)


class PvtEncoder(PyramidEncoder):
    """PVT with average pooling at every stage.

    Args:
        grid: The grid of units.
        pattern: The cells, each with one visible unit; None: the encoder takes all tokens.
        in_chans: Colour channels.
        dims: Width of each stage.
        depths: Number of blocks of each stage.
        num_heads: Attention heads of each stage.
        mlp_ratios: Hidden width of the MLPs over the width, for each stage.
        pools: Side of the pooling kernel for keys and values in patches, for each stage.
        learned_positions: Whether the position embedding is learned, as in fine-tuning.
        drop_path_rate: Stochastic depth of the last block.
        final_norm: Whether a LayerNorm follows the blocks.

    Raises:
        UserError: If sizes do not fit.
    """

    family = "pvt"
    times: Tensor

    def __init__(
        self,
        grid: TokenGrid,
        *,
        pattern: CellPattern | None,
        in_chans: int = 3,
        dims: Sequence[int] = (64, 128, 320, 512),
        depths: Sequence[int] = (3, 4, 6, 3),
        num_heads: Sequence[int] = (1, 2, 5, 8),
        mlp_ratios: Sequence[float] = (8, 8, 4, 4),
        pools: Sequence[int] = (4, 2, 1, 1),
        learned_positions: bool = False,
        drop_path_rate: float = 0.0,
        final_norm: bool = True,
    ) -> None:
        for stage, pool in enumerate(pools, start=1):
            check_count(f"pool of stage {stage}", pool)
        self.pools = tuple(pools)
        super().__init__(
            grid,
            pattern=pattern,
            in_chans=in_chans,
            dims=dims,
            depths=depths,
            patch_norm=False,
            final_norm=final_norm,
        )
        table = sincos_2d_table(grid.h * self.patches, grid.w * self.patches, dims[0])
        if learned_positions:
            self.pos_embed: Tensor = nn.Parameter(table)
        else:
            self.register_buffer("pos_embed", table)
        # Only for video, and fixed: the official position embeddings do not include time.
        times = sinusoid_table(grid.t, dims[0]) if self.axes == 3 else torch.zeros(1, grid.t, dims[0])
        self.register_buffer("times", times, persistent=False)
        rates = iter(drop_path_rates(sum(self.depths), drop_path_rate))
        blocks = []
        for stage, (dim, depth, heads) in enumerate(zip(dims, depths, num_heads, strict=True)):
            check_heads(f"stage {stage + 1}", dim, heads)
            for index in range(depth):
                merge = Merge(dims[stage - 1], dim, norm=False) if stage and not index else None
                blocks.append(
                    PyramidBlock(
                        dim,
                        PooledAttention(dim, heads, pools[stage]),
                        mlp_ratio=mlp_ratios[stage],
                        drop_path_rate=next(rates),
                        downsample=merge,
                    )
                )
        self.blocks = nn.ModuleList(blocks)
        # Not Xavier's, as of plain encoders: weights of narrow stages are then so large that blocks drown their input.
        self.apply(initialise_normal)

    @property
    def within(self) -> str:
        """See :attr:`~adamae.models.pyramid.encoder.PyramidEncoder.within`."""
        return f" with pools of {', '.join(map(str, self.pools))} patches"

    def fits_stage(self, stage: int, length: int) -> bool:
        """Whether ``length`` is a multiple of the stage's pooling kernel."""
        return length > 0 and length % self.pools[stage] == 0

    def share(self, layout: Layout, stage: int, like: Tensor) -> None:
        """The blocks share nothing."""

    def place(self, x: Tensor, layout: Layout) -> Tensor:
        """Add the position embeddings of the patches' positions in the clip."""
        batch, t, h, w, dim = x.shape
        table = self.pos_embed.to(x.dtype)
        if layout.coordinates is None:
            places = table.view(1, 1, h, w, dim)
            times = self.times.to(x.dtype).view(1, t, 1, 1, dim)
        else:
            *time, row, column = layout.coordinates.long().unbind(dim=-1)
            index = row * (self.grid.w * self.patches) + column
            places = gather_tokens(table.expand(batch, -1, -1), index.flatten(1)).view(*index.shape, dim)
            # If a cell has several times, each patch has its own time.
            times = self.times[0].to(x.dtype)
            times = times[time[0]] if time else times.view(1, -1, 1, 1, dim)
        return x + places + times if self.axes == 3 else x + places
