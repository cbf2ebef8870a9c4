"""Layouts of a pyramid's patches: their positions in the tensor and in the clip.

With all tokens both positions are the same. With uniform masks the visible units, one from each cell, are put side by
side in the tensor, and their patches keep the coordinates of the clip.
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
        coordinates: (B, T, H, W, A) position of each patch in the clip, in patches: (t, row, column), or (row, column)
            if the time is not needed. T may be 1 if all times are alike. None: as in the tensor.
        axes: A, the number of axes of a relative position: 2 for images, 3 for video.
        places: Number of possible values of a coordinate along time, height and width of the clip.
        unit: Patches along a unit's side; 1 if a patch covers one or several units.
        step: Distance between neighbouring values of a row or column; it is 1 for times.
    """

    shape: tuple[int, int, int]
    coordinates: Tensor | None
    axes: int
    places: tuple[int, int, int]
    unit: int = 1
    step: float = 1.0

    def merged(self) -> Layout:
        """Return the layout after 2x2 patches have been merged.

        The merged patch has the coordinates of the top-left one, which is exact as long as all four are in one unit.
        """
        t, h, w = self.shape
        shape = (t, h // 2, w // 2)
        # Not replace(), which torch.compile of torch 2.6 cannot trace.
        if self.coordinates is None:
            return Layout(shape, None, self.axes, shape)
        kept = self.coordinates[:, :, ::2, ::2]
        # Not a product with a tensor of three factors: to create it from numbers, the host would wait for the device.
        times, places = kept[..., :-2], kept[..., -2:]
        coordinates = torch.cat((times, places * 0.5), dim=-1)
        if self.unit == 1:
            # The top-left unit may be any unit, so the number of places does not change and their distance halves.
            return Layout(shape, coordinates, self.axes, self.places, 1, self.step / 2)
        among = (self.places[0], self.places[1] // 2, self.places[2] // 2)
        return Layout(shape, coordinates, self.axes, among, self.unit // 2, self.step)


def all_units(grid: TokenGrid, patches: int, axes: int) -> Layout:
    """Return the layout with all tokens.

    Args:
        grid: The grid of units.
        patches: Patches along a unit's side.
        axes: Axes of a relative position.
    """
    shape = (grid.t, grid.h * patches, grid.w * patches)
    return Layout(shape, None, axes, shape)


def compact_units(units: Tensor, grid: TokenGrid, pattern: CellPattern, patches: int, axes: int) -> Layout:
    """Return the layout of one unit from each cell.

    Args:
        units: (B, cells) token indices, in the order of their cells.
        grid: The grid of units.
        pattern: The cell pattern.
        patches: Patches along a unit's side.
        axes: Axes of a relative position.
    """
    cells = pattern.cells(grid)
    # If all times are alike, keep the coordinates of one; relative times are those of the tensor.
    alike = axes == 2 or pattern.shared_over_time
    units = units.unflatten(1, cells)
    units = units[:, :1] if alike else units
    time, row, column = units // (grid.h * grid.w), units // grid.w % grid.h, units % grid.w
    inside = torch.arange(patches, device=units.device)

    def spread(x: Tensor, place: Tensor) -> Tensor:
        """Expand values (B, t, h, w) of units to patches (B, t, h * k, w * k) and add ``place`` within each unit."""
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
    """Roll (B, T, H, W, ...) cyclically towards the start by ``shift``, except along axes of length 1."""
    moved = [(axis, by) for axis, by in enumerate(shift, start=1) if by and x.shape[axis] > 1]
    if not moved:
        return x
    axes, by = zip(*moved, strict=True)
    return x.roll(tuple(-each for each in by), axes)


def cut_windows(x: Tensor, window: Sequence[int]) -> Tensor:
    """Partition (B, T, H, W, C) into windows (B, windows, patches of a window, C)."""
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
