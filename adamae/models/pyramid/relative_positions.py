"""Relative positions of Swin: a small network from the offset of two patches to what their attention gains."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adamae.layers.recomputation import recomputed
from adamae.models.pyramid.layout import Layout, cut_windows, roll

# Keeps patches apart that only the cyclic shift has brought together.
_APART = -100.0


class PositionMlp(nn.Sequential):
    """Offsets to an additive bias for each head; weights are stored as those of 1x1 convolutions.

    Args:
        axes: Axes A of an offset: (row, column), or (t, row, column).
        hidden: Width between the two layers.
        num_heads: Attention heads.
    """

    def __init__(self, axes: int, hidden: int, num_heads: int) -> None:
        super().__init__(nn.Conv2d(axes, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, num_heads, 1))

    def forward(self, offsets: Tensor) -> Tensor:
        """(..., A) logarithmic offsets to (..., heads)."""
        first, _, second = self
        assert isinstance(first, nn.Conv2d) and isinstance(second, nn.Conv2d)
        # In place, as the hidden layer of all pairs is large; of two axes, because in place on a view costs a copy.
        pairs = offsets.flatten(0, -2).to(first.weight.dtype)
        hidden = F.linear(pairs, first.weight.flatten(1), first.bias).relu_()
        return F.linear(hidden, second.weight.flatten(1), second.bias).unflatten(0, offsets.shape[:-1])


def log_offsets(offsets: Tensor) -> Tensor:
    """sign(d) * ln(1 + |d|)."""
    return offsets.sign() * offsets.abs().log1p()


class WindowPositions:
    """The offsets between the patches of each window, for all blocks of one stage.

    They are made once for each shift. Where patches lie as in the tensor, all windows have the same few offsets, and
    they depend on no sample.

    Args:
        layout: The stage's patches.
        window: Patches of a window along time, height and width.
        like: Tells device and precision.
    """

    def __init__(self, layout: Layout, window: Sequence[int], like: Tensor) -> None:
        self.layout = layout
        self.window = tuple(window)
        self.device = like.device
        # Not in half precision: coordinates are whole numbers up to many hundreds.
        self.dtype = torch.promote_types(like.dtype, torch.float32)
        self._known: dict[tuple[int, ...], tuple[Tensor, Tensor | None]] = {}

    def bias(self, network: PositionMlp, shift: Sequence[int]) -> Tensor:
        """What is added to the attention.

        Args:
            network: Of the block.
            shift: How far the tensor was rolled before it was cut into windows.

        Returns:
            (B or 1, windows or 1, heads, n, n), from queries (rows) to keys.
        """
        key = tuple(shift)
        if key not in self._known:
            self._known[key] = (self._offsets(shift), self._apart(shift))
        offsets, apart = self._known[key]
        if self.layout.coordinates is None:
            bias = self._regular(network(offsets))
        else:
            # The network's hidden layer is far larger than what it reads and what it gives.
            bias = self._spread(recomputed(True, network, offsets))
        return bias if apart is None else bias + apart.to(bias.dtype)

    def _offsets(self, shift: Sequence[int]) -> Tensor:
        """What :class:`PositionMlp` reads: (offsets of a window, A), or (B, windows, [times,] n, n, A)."""
        coordinates, window = self.layout.coordinates, self.window
        if coordinates is None:
            axes = [self._steps(side) for side in window[3 - self.layout.axes :]]
            return log_offsets(torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, -2))
        flat = coordinates.shape[-1] == 2
        inside = (1, *window[1:]) if flat else window
        places = cut_windows(roll(coordinates.to(self.dtype), shift), inside)
        offsets = log_offsets(places.unsqueeze(2) - places.unsqueeze(3))
        if not flat or self.layout.axes == 2:
            return offsets
        times = log_offsets(self._steps(window[0])).view(-1, 1, 1, 1)
        times, offsets = torch.broadcast_tensors(times, offsets.unsqueeze(2))
        return torch.cat((times[..., :1], offsets), dim=-1)

    def _steps(self, side: int) -> Tensor:
        """All offsets along an axis of a window, from -(side - 1) to side - 1."""
        return torch.arange(1 - side, side, device=self.device, dtype=self.dtype)

    def _pairs(self, side: int) -> Tensor:
        """(side, side) which of :meth:`_steps` lies between a query (row) and a key."""
        place = torch.arange(side, device=self.device)
        return place - place.unsqueeze(1) + side - 1

    def _regular(self, table: Tensor) -> Tensor:
        """(offsets, heads) to (1, 1, heads, n, n)."""
        index = torch.zeros((), dtype=torch.long, device=self.device)
        sides = self.window[3 - self.layout.axes :]
        for axis, side in enumerate(sides):
            # (1, .., query, .., 1, 1, .., key, .., 1): this axis of the queries' places and of the keys'.
            shape = [1] * 2 * len(sides)
            shape[axis] = shape[len(sides) + axis] = side
            index = index * (2 * side - 1) + self._pairs(side).view(shape)
        patches = math.prod(sides)
        return table[index.reshape(patches, patches)].permute(2, 0, 1)[None, None]

    def _spread(self, table: Tensor) -> Tensor:
        """(B, windows, n, n, heads), or (B, windows, times, n, n, heads) of one time, to (B, windows, heads, n, n)."""
        if table.dim() == 5:
            return table.permute(0, 1, 4, 2, 3)
        times = self.layout.shape[0] // self.window[0]
        # (B, windows, query's time, key's time, query's place, key's place, heads)
        table = table[:, :, self._pairs(self.window[0])].permute(0, 1, 6, 2, 4, 3, 5)
        table = table.flatten(5, 6).flatten(3, 4)
        return table.repeat(1, times, 1, 1, 1) if times > 1 else table

    def _apart(self, shift: Sequence[int]) -> Tensor | None:
        """(1, windows, 1, n, n) what keeps patches apart that the shift has brought together."""
        if not any(shift):
            return None
        region = torch.zeros((), dtype=torch.long, device=self.device)
        for length, by in zip(self.layout.shape, shift, strict=True):
            wrapped = (torch.arange(length, device=self.device) >= length - by).long() if by else None
            along = torch.zeros(length, dtype=torch.long, device=self.device) if wrapped is None else wrapped
            region = region.unsqueeze(-1) * 2 + along
        windows = cut_windows(region[None, ..., None], self.window).squeeze(-1)
        differ = windows.unsqueeze(2) != windows.unsqueeze(3)
        return (differ * _APART).unsqueeze(2)
