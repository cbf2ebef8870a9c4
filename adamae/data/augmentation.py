"""What happens to the pixels of a training clip: one crop, one size and one flip for all its frames.

Clips stay uint8. A :class:`Transform` says beforehand which part of the frames it needs, and the rest is never made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from torch.nn import functional as F

from adamae.errors import UserError

# Of resizing.
ResizeMode = Literal["bilinear", "bicubic"]
# Distances to the target size (exclusive) at which a crop takes the target size itself, and so needs no resize.
_SNAP_PIXELS = 3
# Top left corners in quarters of the free room (down, right): corners, centre, middles of the edges, quarter points.
_PLACES = ((0, 0), (0, 4), (4, 0), (4, 4), (2, 2), (2, 0), (2, 4), (4, 2), (0, 2), (1, 1), (1, 3), (3, 1), (3, 3))


# After so many boxes that do not fit into the frame the middle of it is taken.
_MOST_BOXES = 10


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
        mode: Interpolation of resizing.
    """

    box: Box
    height: int
    width: int
    mirrored: bool = False
    mode: ResizeMode = "bilinear"

    def finish(self, part: np.ndarray) -> np.ndarray:
        """What lies in the box (T, h, w, 3) uint8 to the clip (T, height, width, 3) uint8."""
        clip = resize(part, self.height, self.width, self.mode)
        return mirror(clip) if self.mirrored else clip

    def cut_mask(self, moving: np.ndarray) -> np.ndarray:
        """Motion masks of whole frames (T, H, W) bool to those of the clip (T, height, width) bool."""
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
        mode: Interpolation of resizing.
    """

    height: int
    width: int
    scales: tuple[float, ...] = (1.0, 0.875, 0.75, 0.66)
    flip: bool = False
    mode: ResizeMode = "bilinear"

    def plan(self, height: int, width: int, rng: np.random.Generator) -> CropPlan:
        """See :class:`Transform`."""
        box = self.choose(height, width, rng)
        mirrored = self.flip and bool(rng.integers(2))
        return CropPlan(box, self.height, self.width, mirrored, self.mode)

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


@dataclass(frozen=True)
class RandomResizedCrop:
    """The crop that images are trained with (torchvision's transform of that name), resized to a square.

    Args:
        size: Height and width of the result in pixels.
        scale: Least and largest share of the frame that is kept.
        ratio: Least and largest width over height of the box.
        flip: Mirror half of the clips.
        mode: Interpolation of resizing.

    Raises:
        UserError: If ``scale`` is no range of shares.
    """

    size: int
    scale: tuple[float, float]
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: bool = False
    mode: ResizeMode = "bilinear"

    def __post_init__(self) -> None:
        least, largest = self.scale
        if not 0 < least <= largest <= 1:
            raise UserError(
                f"--crop_scale {least:g} {largest:g}: expected two fractions in ascending order, above 0 and at most 1"
            )

    def plan(self, height: int, width: int, rng: np.random.Generator) -> CropPlan:
        """See :class:`Transform`."""
        box = self.choose(height, width, rng)
        mirrored = self.flip and bool(rng.integers(2))
        return CropPlan(box, self.size, self.size, mirrored, self.mode)

    def choose(self, height: int, width: int, rng: np.random.Generator) -> Box:
        """Draw the box for frames of ``height`` by ``width`` pixels."""
        # Boxes are drawn by height over width.
        box = draw_box(height, width, self.scale, (1 / self.ratio[1], 1 / self.ratio[0]), rng)
        return box or self._middle(height, width)

    def _middle(self, height: int, width: int) -> Box:
        """The largest box in the middle whose ratio is admitted."""
        new_width = min(width, round(height * self.ratio[1]))
        new_height = min(height, round(width / self.ratio[0]))
        return Box((height - new_height) // 2, (width - new_width) // 2, new_height, new_width)


def draw_box(
    height: int, width: int, area: tuple[float, float], ratio: tuple[float, float], rng: np.random.Generator
) -> Box | None:
    """A random box in a frame, or None if ten draws gave none that fits.

    Args:
        height: Of the frame.
        width: Of the frame.
        area: Least and largest share of the frame; uniform between.
        ratio: Least and largest height over width; uniform in the logarithm between.
        rng: Where the numbers come from.
    """
    for _ in range(_MOST_BOXES):
        pixels = height * width * rng.uniform(*area)
        aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        box_height, box_width = round(math.sqrt(pixels * aspect)), round(math.sqrt(pixels / aspect))
        if 0 < box_height <= height and 0 < box_width <= width:
            top, left = int(rng.integers(height - box_height + 1)), int(rng.integers(width - box_width + 1))
            return Box(top, left, box_height, box_width)
    return None


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


def resize(
    clip: np.ndarray, height: int, width: int, mode: ResizeMode = "bilinear", *, antialias: bool = True
) -> np.ndarray:
    """Resize, uint8 to uint8.

    Args:
        clip: (T, H, W, 3) uint8.
        height: New height.
        width: New width.
        mode: Interpolation.
        antialias: Use all pixels of the old clip when the new one is smaller, as Pillow does.

    Returns:
        (T, height, width, 3) uint8, contiguous.
    """
    if clip.shape[1:3] == (height, width):
        return np.ascontiguousarray(clip)
    # Seen as (T, 3, H, W) this memory is channels-last, for which torch has a uint8 kernel.
    pixels = torch.from_numpy(np.ascontiguousarray(clip)).permute(0, 3, 1, 2)
    resized = F.interpolate(pixels, (height, width), mode=mode, antialias=antialias)
    return np.ascontiguousarray(resized.permute(0, 2, 3, 1).numpy())


def resize_mask(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """The nearest pixel's value: (T, H, W) bool to (T, height, width) bool."""
    rows = _nearest(mask.shape[1], height)
    columns = _nearest(mask.shape[2], width)
    return mask[:, rows[:, None], columns]


def _nearest(size: int, new_size: int) -> np.ndarray:
    """For each of ``new_size`` pixels the old one that its centre falls on."""
    return (np.arange(new_size) * 2 + 1) * size // (2 * new_size)
