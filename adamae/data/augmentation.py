"""What happens to the pixels of a training clip: one crop, one size and one flip for all its frames.

Clips stay uint8. A :class:`Transform` says beforehand which part of the frames it needs, and the rest is never made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch.nn import functional as F

# Distances to the target size (exclusive) at which a crop takes the target size itself, and so needs no resize.
_SNAP_PIXELS = 3
# Top left corners in quarters of the free room (down, right): corners, centre, middles of the edges, quarter points.
_PLACES = ((0, 0), (0, 4), (4, 0), (4, 4), (2, 2), (2, 0), (2, 4), (4, 2), (0, 2), (1, 1), (1, 3), (3, 1), (3, 3))


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class CropPlan:
    """What a transform has drawn for one clip.

    Attributes:
        box: The part of the frames that is needed.
        height: Target height in pixels.
        width: Target width.
        mirrored: Whether left and right are exchanged at the end.
    """

    box: Box
    height: int
    width: int
    mirrored: bool = False

    def finish(self, part: np.ndarray) -> np.ndarray:
        """What lies in the box (T, h, w, 3) uint8 to the clip (T, height, width, 3) uint8."""
        clip = resize(part, self.height, self.width)
        return mirror(clip) if self.mirrored else clip

    def cut_mask(self, moving: np.ndarray) -> np.ndarray:
        """What moves in whole frames (T, H, W) bool to what moves in the clip (T, height, width) bool."""
        mask = resize_mask(crop(moving, self.box), self.height, self.width)
        return mirror(mask) if self.mirrored else mask


class Transform(Protocol):
    """Draws everything that happens to a clip before it sees a pixel, by random numbers from ``rng`` alone."""

    def plan(self, height: int, width: int, rng: np.random.Generator) -> CropPlan:
        """Draw what becomes of a clip whose frames have ``height`` by ``width`` pixels."""


@dataclass(frozen=True)
class MultiScaleCrop:
    """Multi-scale crop of pre-training, resized to the target.

    Height and width take their scales from one list, at most one place apart, times the short side of the frame;
    the box lies at one of 13 fixed places.

    Args:
        height: Target height in pixels.
        width: Target width.
        scales: From the largest to the smallest.
        flip: Mirror half of the clips. Off in the published code for both SSv2 and Kinetics.
    """

    height: int
    width: int
    scales: tuple[float, ...] = (1.0, 0.875, 0.75, 0.66)
    flip: bool = False

    def plan(self, height: int, width: int, rng: np.random.Generator) -> CropPlan:
        """See :class:`Transform`."""
        box = self.choose(height, width, rng)
        return CropPlan(box, self.height, self.width, mirrored=self.flip and bool(rng.integers(2)))

    def choose(self, height: int, width: int, rng: np.random.Generator) -> Box:
        """Draw the box for frames of ``height`` by ``width`` pixels."""
        short = min(height, width)
        sizes = [int(short * scale) for scale in self.scales]
        last = len(sizes) - 1
        pairs = [(i, j) for i in range(len(sizes)) for j in range(max(i - 1, 0), min(i + 1, last) + 1)]
        i, j = pairs[rng.integers(len(pairs))]
        box_height = _snap(sizes[i], self.height, height)
        box_width = _snap(sizes[j], self.width, width)
        down, right = _PLACES[rng.integers(len(_PLACES))]
        return Box(
            top=(height - box_height) // 4 * down,
            left=(width - box_width) // 4 * right,
            height=box_height,
            width=box_width,
        )


def _snap(size: int, target: int, available: int) -> int:
    if abs(size - target) < _SNAP_PIXELS:
        size = target
    return max(min(size, available), 1)


def crop(frames: np.ndarray, box: Box) -> np.ndarray:
    """The part of (T, H, W, ...) inside ``box``, as a view."""
    return frames[:, box.top : box.top + box.height, box.left : box.left + box.width]


def mirror(frames: np.ndarray) -> np.ndarray:
    """(T, H, W, ...) with left and right exchanged, contiguous."""
    return np.ascontiguousarray(frames[:, :, ::-1])


def resize(clip: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear with antialiasing, uint8 to uint8.

    Args:
        clip: (T, H, W, 3) uint8.
        height: New height.
        width: New width.

    Returns:
        (T, height, width, 3) uint8, contiguous.
    """
    if clip.shape[1:3] == (height, width):
        return np.ascontiguousarray(clip)
    # Seen as (T, 3, H, W) this memory is channels-last, for which torch has a uint8 kernel.
    pixels = torch.from_numpy(np.ascontiguousarray(clip)).permute(0, 3, 1, 2)
    resized = F.interpolate(pixels, (height, width), mode="bilinear", antialias=True)
    return np.ascontiguousarray(resized.permute(0, 2, 3, 1).numpy())


def resize_mask(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """The nearest pixel's value: (T, H, W) bool to (T, height, width) bool."""
    rows = _nearest(mask.shape[1], height)
    columns = _nearest(mask.shape[2], width)
    return mask[:, rows[:, None], columns]


def _nearest(size: int, new_size: int) -> np.ndarray:
    """For each of ``new_size`` pixels the old one that its centre falls on."""
    return (np.arange(new_size) * 2 + 1) * size // (2 * new_size)
