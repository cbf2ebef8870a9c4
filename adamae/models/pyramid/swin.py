"""The Swin encoder: window attention with a relative position bias from the patches' coordinates."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adamae.errors import UserError
from adamae.grid import TokenGrid
from adamae.layers.block import check_heads, initialise_normal
from adamae.layers.dropping import drop_path_rates
from adamae.layers.recomputation import recomputed
from adamae.layers.recomputing_linear import norm_linear
from adamae.models.pyramid.blocks import Merge, PyramidBlock
from adamae.models.pyramid.encoder import PyramidEncoder
from adamae.models.pyramid.layout import Layout, cut_windows, join_windows, roll
from adamae.models.pyramid.relative_positions import PositionMlp, WindowPositions, bias_of
from adamae.samplers.cells import CellPattern

# Times in a window of video; the window is smaller along axes with fewer patches.
WINDOW_TIMES = 8
# Maximum number of attention weights (pairs of patches times heads) in memory at a time.
_MAX_PAIRS = 2**24


class WindowAttention(nn.Module):
    """Attention within windows, which are shifted by half of their side in every second block.

    Args:
        dim: Width C.
        num_heads: Attention heads.
        axes: Axes of a relative position.
        position_dim: Hidden width of the MLP that maps relative positions to a bias.
        window: Patches of a window along time, height and width.
        shift: Shift of the windows along each axis.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        *,
        axes: int,
        position_dim: int,
        window: tuple[int, int, int],
        shift: tuple[int, int, int],
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window, self.shift = window, shift
        self.posmlp = PositionMlp(axes, position_dim, num_heads)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, norm: nn.Module, positions: WindowPositions) -> Tensor:
        """(B, T, H, W, C) to the same; ``norm`` is applied first."""
        windows = cut_windows(roll(x, self.shift), self.window)
        qkv = norm_linear(windows, norm, self.qkv)
        table = positions.table(self.posmlp)
        numbers, apart = positions.pairs(self.shift)
        if positions.per_clip:
            # Recompute bias and attention weights of all pairs, which are far larger than their inputs.
            clips = max(1, _MAX_PAIRS // (self.num_heads * qkv.shape[1] * qkv.shape[2] ** 2))
            # An exported graph is for any number of clips, and cannot have a number of parts that depends on it.
            whole = isinstance(qkv.shape[0], torch.SymInt)
            parts = [(qkv, numbers)] if whole else zip(qkv.split(clips), numbers.split(clips), strict=True)
            attended = [recomputed(True, self._attend, some, table, each, apart) for some, each in parts]
            out = attended[0] if len(attended) == 1 else torch.cat(attended)
        else:
            out = self._attend(qkv, table, numbers, apart)
        x = join_windows(self.proj(out), x.shape[1:4], self.window)
        return roll(x, [-by for by in self.shift])

    def _attend(self, qkv: Tensor, table: Tensor, numbers: Tensor, apart: Tensor | None) -> Tensor:
        """Attend within windows: (B, windows, n, 3C) queries, keys and values to (B, windows, n, C)."""
        # To (B, windows, heads, n, head_dim).
        query, key, value = (part.unflatten(3, (self.num_heads, -1)).transpose(2, 3) for part in qkv.chunk(3, dim=3))
        bias = bias_of(table, numbers, apart).to(query.dtype)
        batch, count = query.shape[:2]
        bias = bias.expand(batch, count, *bias.shape[2:]).flatten(0, 1)
        # Some of the fused kernels support only four axes.
        query, key, value = (part.flatten(0, 1) for part in (query, key, value))
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return out.unflatten(0, (batch, count)).transpose(2, 3).flatten(3)


class SwinEncoder(PyramidEncoder):
    """Swin with a position bias from a small MLP instead of a table, and patch merging by convolution.

    Args:
        grid: The grid of units.
        pattern: The cells, each with one visible unit; None: the encoder takes all tokens.
        in_chans: Colour channels.
        dims: Width of each stage.
        depths: Number of blocks of each stage.
        num_heads: Attention heads of each stage.
        window: Patches along a window's side: 8 on visible units and 16 on all, which is the same area of the image.
        position_dim: Hidden width of the position MLPs.
        mlp_ratio: Hidden width of the MLPs over the width.
        drop_path_rate: Stochastic depth of the last block.
        final_norm: Whether a LayerNorm follows the blocks.

    Raises:
        UserError: If sizes do not fit.
    """

    family = "swin"

    def __init__(
        self,
        grid: TokenGrid,
        *,
        pattern: CellPattern | None,
        in_chans: int = 3,
        dims: Sequence[int] = (96, 192, 384, 768),
        depths: Sequence[int] = (2, 2, 6, 2),
        num_heads: Sequence[int] = (3, 6, 12, 24),
        window: int = 8,
        position_dim: int = 32,
        mlp_ratio: float = 4.0,
        drop_path_rate: float = 0.0,
        final_norm: bool = True,
    ) -> None:
        if window < 1:
            raise UserError(f"window_size = {window}: expected at least 1 patch")
        self.window = window
        super().__init__(
            grid,
            pattern=pattern,
            in_chans=in_chans,
            dims=dims,
            depths=depths,
            patch_norm=True,
            final_norm=final_norm,
        )
        rates = iter(drop_path_rates(sum(self.depths), drop_path_rate))
        blocks = []
        for stage, (dim, depth, heads) in enumerate(zip(dims, depths, num_heads, strict=True)):
            check_heads(f"stage {stage + 1}", dim, heads)
            for index in range(depth):
                size, shift = self.windows(stage, shifted=index % 2 == 1)
                attention = WindowAttention(
                    dim, heads, axes=self.axes, position_dim=position_dim, window=size, shift=shift
                )
                merge = Merge(dims[stage - 1], dim, norm=True) if stage and not index else None
                blocks.append(
                    PyramidBlock(dim, attention, mlp_ratio=mlp_ratio, drop_path_rate=next(rates), downsample=merge)
                )
        self.blocks = nn.ModuleList(blocks)
        # Not Xavier as in plain ViTs: in narrow stages its weights are so large that blocks dominate the residual path.
        self.apply(initialise_normal)

    def windows(self, stage: int, shifted: bool) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """Return size and shift of a stage's windows; an axis not longer than a window is not divided."""
        t, h, w = self.shape
        lengths = (t, h >> stage, w >> stage)
        sides = (min(WINDOW_TIMES, lengths[0]), min(self.window, lengths[1]), min(self.window, lengths[2]))
        by = [side // 2 if shifted and length > side else 0 for side, length in zip(sides, lengths, strict=True)]
        return sides, (by[0], by[1], by[2])

    @property
    def within(self) -> str:
        """See :attr:`~adamae.models.pyramid.encoder.PyramidEncoder.within`."""
        return f" with windows of {self.window}x{self.window} patches"

    def fits_stage(self, stage: int, length: int) -> bool:
        """Whether ``length`` is at most a window, or a multiple of it."""
        return 0 < length <= self.window or length % self.window == 0

    def share(self, layout: Layout, stage: int, like: Tensor) -> WindowPositions:
        """Return the relative positions of the stage's windows."""
        return WindowPositions(layout, self.windows(stage, shifted=False)[0], like)
