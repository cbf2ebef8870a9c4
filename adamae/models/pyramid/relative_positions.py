"""Relative position bias of Swin: a small network maps the offset of two patches to an attention bias."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adamae.layers.recomputation import recomputed
from adamae.models.pyramid.layout import Layout, cut_windows, roll
from adamae.precision import at_least_float32

# Attention mask value for patches that are in one window only because of the cyclic shift.
_APART = -100.0


class PositionMlp(nn.Sequential):
    """MLP from offsets to an additive bias for each head; weights are stored as those of 1x1 convolutions.

    Args:
        axes: Axes A of an offset: (row, column), or (t, row, column).
        hidden: Hidden width.
        num_heads: Attention heads.
    """

    def __init__(self, axes: int, hidden: int, num_heads: int) -> None:
        super().__init__(nn.Conv2d(axes, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, num_heads, 1))

    def forward(self, offsets: Tensor) -> Tensor:
        """(..., A) logarithmic offsets to (..., heads)."""
        first, _, second = self
        assert isinstance(first, nn.Conv2d) and isinstance(second, nn.Conv2d)
        # ReLU in place, because the hidden layer of all pairs is large; flattened to two axes, because an in-place
        # operation on a view costs a copy.
        pairs = offsets.flatten(0, -2).to(first.weight.dtype)
        hidden = F.linear(pairs, first.weight.flatten(1), first.bias).relu_()
        return F.linear(hidden, second.weight.flatten(1), second.bias).unflatten(0, offsets.shape[:-1])


def log_offsets(offsets: Tensor) -> Tensor:
    """sign(d) * ln(1 + |d|)."""
    return offsets.sign() * offsets.abs().log1p()


class WindowPositions:
    """The offsets between the patches of each window, for all blocks of one stage.

    There are far fewer offsets than pairs of patches, so the bias of each offset is stored in a table. Each patch has a
    number that increases with its time, row and column. The difference of two patches' numbers is the index of their
    offset in the table.

    Args:
        layout: Layout of the stage's patches.
        window: Patches of a window along time, height and width.
        like: A tensor with the device and dtype to use.

    Attributes:
        per_clip: Whether each clip has its own offsets; else all windows of all clips have the same ones.
    """

    def __init__(self, layout: Layout, window: Sequence[int], like: Tensor) -> None:
        self.layout = layout
        self.window = tuple(window)
        self.device = like.device
        # Not in half precision: coordinates are integers up to many hundreds, and bf16 is exact only up to 256.
        self.dtype = at_least_float32(like.dtype)
        self.per_clip = layout.coordinates is not None
        # If all times are alike, relative times are those of the tensor.
        flat = layout.coordinates is None or layout.coordinates.shape[-1] == 2
        self.times_of_tensor = flat and layout.axes == 3
        sides = self.window if layout.coordinates is None else layout.places
        self.sides = (self.window[0] if self.times_of_tensor else sides[0], *sides[1:])[3 - layout.axes :]
        self._offsets: Tensor | None = None
        self._known: dict[tuple[int, ...], tuple[Tensor, Tensor | None]] = {}

    def table(self, network: PositionMlp) -> Tensor:
        """(heads, offsets) attention bias of each offset, computed by ``network``, the block's MLP."""
        if self._offsets is None:
            steps = [1.0, self.layout.step, self.layout.step][3 - self.layout.axes :]
            along = [
                torch.arange(1 - side, side, device=self.device, dtype=self.dtype) * step
                for side, step in zip(self.sides, steps, strict=True)
            ]
            self._offsets = log_offsets(torch.stack(torch.meshgrid(*along, indexing="ij"), dim=-1).flatten(0, -2))
        # Recompute the network's hidden layer, which is far larger than its input and output. The table is not in half
        # precision, because the gradients of all pairs are summed in it.
        return recomputed(True, network, self._offsets).to(self.dtype).t()

    def pairs(self, shift: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        """Return the patches' numbers and the attention mask, the inputs of :func:`bias_of` besides the table.

        Args:
            shift: Shift of the tensor along each axis before its partition into windows.
        """
        key = tuple(shift)
        if key not in self._known:
            self._known[key] = (self._numbers(shift), self._apart(shift))
        return self._known[key]

    def _numbers(self, shift: Sequence[int]) -> Tensor:
        """(B or 1, windows or 1, n) numbers of the patches."""
        coordinates = self.layout.coordinates
        if coordinates is None:
            places = [torch.arange(side, device=self.device) for side in self.window]
            *time, row, column = torch.meshgrid(*places[3 - self.layout.axes :], indexing="ij")
            return self._number([*time, row, column]).view(1, 1, -1)
        *time, row, column = roll(coordinates.to(self.dtype), shift).unbind(dim=-1)
        row, column = (row / self.layout.step).long(), (column / self.layout.step).long()
        if self.times_of_tensor:
            time = [torch.arange(self.layout.shape[0], device=self.device).view(1, -1, 1, 1)]
        numbers = self._number([*(each.long() for each in time[: self.layout.axes - 2]), row, column])
        return cut_windows(numbers.unsqueeze(-1), self.window).squeeze(-1)

    def _number(self, coordinates: Sequence[Tensor]) -> Tensor:
        """Combine integer coordinates along each axis to one number, in the order of the table."""
        number = torch.zeros((), dtype=torch.long, device=self.device)
        for side, along in zip(self.sides, coordinates, strict=True):
            number = number * (2 * side - 1) + along
        return number

    def _apart(self, shift: Sequence[int]) -> Tensor | None:
        """(1, windows, 1, n, n) attention mask for patches that are in one window only because of the shift."""
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


def bias_of(table: Tensor, numbers: Tensor, apart: Tensor | None) -> Tensor:
    """Return the additive attention bias.

    Args:
        table: (heads, offsets) from :meth:`WindowPositions.table`.
        numbers: (B or 1, windows or 1, n) from :meth:`WindowPositions.pairs`, for all clips or some of them.
        apart: (1, windows, 1, n, n) attention mask from :meth:`WindowPositions.pairs`, or None.

    Returns:
        (B or 1, windows or 1, heads, n, n), from queries (rows) to keys.
    """
    # The zero offset is in the middle of the table.
    index = numbers.unsqueeze(2) - numbers.unsqueeze(3) + table.shape[1] // 2
    bias = table.gather(1, index.flatten().expand(table.shape[0], -1)).unflatten(1, index.shape).movedim(0, 2)
    return bias if apart is None else bias + apart.to(bias.dtype)
