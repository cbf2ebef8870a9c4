"""Where the patches of a pyramid lie: in the tensor, and in the clip that they come from.

With all tokens both are the same. With uniform masks the visible units, one from each cell, are put side by side, and
their patches keep the coordinates that they have in the clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from adamae.grid import TokenGrid
from adamae.samplers.cells import CellPattern


@dataclass(frozen=True)
class Layout:
    """Patches of one stage.

    Attributes:
        shape: Patches along time, height and width of the tensor.
        coordinates: (B, T, H, W, A) where each patch lies in the clip, in patches: (t, row, column), or (row, column)
            where the others do not need the time. T may be 1 where all times are alike. None: as in the tensor.
        axes: A, axes of a relative position: 2 for images, 3 for video.
        places: How many values a coordinate can have along time, height and width: places of the clip.
        unit: Patches along a unit's side; 1 where a patch is one unit or several.
        step: What lies between neighbouring values of a row or column; of times it is 1.
    """

    shape: tuple[int, int, int]
    coordinates: Tensor | None
    axes: int
    places: tuple[int, int, int]
    unit: int = 1
    step: float = 1.0

    def merged(self) -> Layout:
        """After two neighbouring rows and columns have become one.

        The top-left patch stands for the four: exact as long as they are of one unit.
        """
        t, h, w = self.shape
        shape = (t, h // 2, w // 2)
        # Not replace(), which the compiler of torch 2.6 cannot follow.
        if self.coordinates is None:
            return Layout(shape, None, self.axes, shape)
        kept = self.coordinates[:, :, ::2, ::2]
        # Not times a tensor of three factors: to make one of numbers, the host waits for the device.
        times, places = kept[..., :-2], kept[..., -2:]
        coordinates = torch.cat((times, places * 0.5), dim=-1)
        if self.unit == 1:
            # Any unit may be the first of several, so that there are as many places as before, half as far apart.
            return Layout(shape, coordinates, self.axes, self.places, 1, self.step / 2)
        among = (self.places[0], self.places[1] // 2, self.places[2] // 2)
        return Layout(shape, coordinates, self.axes, among, self.unit // 2, self.step)


def all_units(grid: TokenGrid, patches: int, axes: int) -> Layout:
    """The layout with all tokens.

    Args:
        grid: The units.
        patches: Patches along a unit's side.
        axes: Axes of a relative position.
    """
    shape = (grid.t, grid.h * patches, grid.w * patches)
    return Layout(shape, None, axes, shape)


def compact_units(units: Tensor, grid: TokenGrid, pattern: CellPattern, patches: int, axes: int) -> Layout:
    """The layout of one unit from each cell.

    Args:
        units: (B, cells) tokens of the grid, in the order of their cells.
        grid: The units.
        pattern: Their cells.
        patches: Patches along a unit's side.
        axes: Axes of a relative position.
    """
    cells = pattern.cells(grid)
    # All times are alike, so that one tells all; relative times are those of the tensor.
    alike = axes == 2 or pattern.shared_over_time
    units = units.unflatten(1, cells)
    units = units[:, :1] if alike else units
    time, row, column = units // (grid.h * grid.w), units // grid.w % grid.h, units % grid.w
    inside = torch.arange(patches, device=units.device)

    def spread(x: Tensor, place: Tensor) -> Tensor:
        """(B, t, h, w) units and what is added in each of their patches, to (B, t, h * k, w * k)."""
        x = x[:, :, :, None, :, None] + place
        x = x.expand(-1, -1, -1, patches, -1, patches)
        return x.flatten(4, 5).flatten(2, 3)

    rows = spread(row * patches, inside.view(-1, 1, 1))
    columns = spread(column * patches, inside)
    both = (rows, columns) if alike else (spread(time, inside.new_zeros(1)), rows, columns)
    coordinates = torch.stack(both, dim=-1).to(torch.float32)
    shape = (cells[0], cells[1] * patches, cells[2] * patches)
    places = (grid.t, grid.h * patches, grid.w * patches)
    return Layout(shape, coordinates, axes, places, patches)


def roll(x: Tensor, shift: Sequence[int]) -> Tensor:
    """(B, T, H, W, ...) moved towards the start by ``shift``, cyclically; nothing along axes of length 1."""
    moved = [(axis, by) for axis, by in enumerate(shift, start=1) if by and x.shape[axis] > 1]
    if not moved:
        return x
    axes, by = zip(*moved, strict=True)
    return x.roll(tuple(-each for each in by), axes)


def cut_windows(x: Tensor, window: Sequence[int]) -> Tensor:
    """(B, T, H, W, C) to (B, windows, patches of a window, C)."""
    b, _, _, _, c = x.shape
    wt, wh, ww = window
    x = x.unflatten(3, (-1, ww)).unflatten(2, (-1, wh)).unflatten(1, (-1, wt))
    return x.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(b, -1, wt * wh * ww, c)


def join_windows(x: Tensor, shape: Sequence[int], window: Sequence[int]) -> Tensor:
    """The inverse of :func:`cut_windows`: (B, windows, patches, C) to (B, T, H, W, C)."""
    b, _, _, c = x.shape
    (t, h, w), (wt, wh, ww) = shape, window
    x = x.view(b, t // wt, h // wh, w // ww, wt, wh, ww, c)
    return x.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(b, t, h, w, c)
