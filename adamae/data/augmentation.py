"""Crop, resize and flip of training clips, the same for all frames of a clip.

Clips stay uint8. A :class:`Transform` draws its crop before it gets pixels, so that only cropped frames are kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from torch.nn import functional as F

from adamae.errors import UserError

# Interpolation mode of resizing.
ResizeMode = Literal["bilinear", "bicubic"]
# A crop whose size differs from the target by fewer pixels takes the target size, and needs no resize.
_SNAP_PIXELS = 3
# Top-left corners in quarters of the margin (down, right): corners, centre, middles of the edges, quarter points.
_PLACES = ((0, 0), (0, 4), (4, 0), (4, 4), (2, 2), (2, 0), (2, 4), (4, 2), (0, 2), (1, 1), (1, 3), (3, 1), (3, 3))


# Number of attempts to draw a box that fits into the frame.
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
    """Crop, target size and flip of one clip, drawn by a transform.

    Attributes:
        box: The crop.
        height: Target height in pixels.
        width: Target width in pixels.
        mirrored: Whether to flip the clip horizontally after resizing.
        mode: Interpolation mode of resizing.
    """

    box: Box
    height: int
    width: int
    mirrored: bool = False
    mode: ResizeMode = "bilinear"

    def finish(self, part: np.ndarray) -> np.ndarray:
        """Resize and flip the cropped frames (T, h, w, 3) uint8 to the clip (T, height, width, 3) uint8."""
        clip = resize(part, self.height, self.width, self.mode)
        return mirror(clip) if self.mirrored else clip

    def cut_mask(self, motion_mask: np.ndarray) -> np.ndarray:
        """Crop, resize and flip motion masks of complete frames (T, H, W) bool to (T, height, width) bool."""
        mask = resize_mask(crop(motion_mask, self.box), self.height, self.width)
        return mirror(mask) if self.mirrored else mask


class Transform(Protocol):
    """Draws a clip's plan from the frame size and ``rng`` alone, before it gets pixels."""

    def plan(self, height: int, width: int, rng: np.random.Generator) -> CropPlan:
        """Draw the plan of a clip whose frames have ``height`` by ``width`` pixels."""


@dataclass(frozen=True)
class MultiScaleCrop:
    """Multi-scale crop of pre-training, resized to the target.

    Height and width of the box are the short side of the frame times one of ``scales`` each, at most one position
    apart in the list. The box is at one of 13 fixed positions.

    Args:
        height: Target height in pixels.
        width: Target width in pixels.
        scales: Scales in descending order.
        flip: Flip half of the clips horizontally. Off in the official code for both SSv2 and Kinetics.
        mode: Interpolation mode of resizing.
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
    """Random resized crop as in torchvision's transform of that name, resized to a square.

    Args:
        size: Height and width of the result in pixels.
        scale: Minimum and maximum fraction of the frame area in the box.
        ratio: Minimum and maximum aspect ratio (width / height) of the box.
        flip: Flip half of the clips horizontally.
        mode: Interpolation mode of resizing.

    Raises:
        UserError: If ``scale`` is not an ascending range within (0, 1].
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
        # draw_box expects height / width.
        box = draw_box(height, width, self.scale, (1 / self.ratio[1], 1 / self.ratio[0]), rng)
        return box or self._middle(height, width)

    def _middle(self, height: int, width: int) -> Box:
        """Return the largest centred box with an allowed aspect ratio."""
        new_width = min(width, round(height * self.ratio[1]))
        new_height = min(height, round(width / self.ratio[0]))
        return Box((height - new_height) // 2, (width - new_width) // 2, new_height, new_width)


def draw_box(
    height: int, width: int, area: tuple[float, float], ratio: tuple[float, float], rng: np.random.Generator
) -> Box | None:
    """Draw a random box within a frame; None if none of ten draws fits.

    Args:
        height: Height of the frame in pixels.
        width: Width of the frame in pixels.
        area: Minimum and maximum fraction of the frame area, drawn uniformly.
        ratio: Minimum and maximum height / width, drawn log-uniformly.
        rng: Random number generator.
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
    """Return the part of (T, H, W, ...) inside ``box``, as a view."""
    return frames[:, box.top : box.top + box.height, box.left : box.left + box.width]


def mirror(frames: np.ndarray) -> np.ndarray:
    """Flip (T, H, W, ...) horizontally; the result is contiguous."""
    return np.ascontiguousarray(frames[:, :, ::-1])


def resize(
    clip: np.ndarray, height: int, width: int, mode: ResizeMode = "bilinear", *, antialias: bool = True
) -> np.ndarray:
    """Resize a uint8 clip.

    Args:
        clip: (T, H, W, 3) uint8.
        height: New height in pixels.
        width: New width in pixels.
        mode: Interpolation mode.
        antialias: Apply antialiasing when downsampling, as Pillow does.

    Returns:
        (T, height, width, 3) uint8, contiguous.
    """
    if clip.shape[1:3] == (height, width):
        return np.ascontiguousarray(clip)
    # Permuted to (T, 3, H, W), the memory is channels-last, for which torch has a uint8 kernel.
    pixels = torch.from_numpy(np.ascontiguousarray(clip)).permute(0, 3, 1, 2)
    resized = F.interpolate(pixels, (height, width), mode=mode, antialias=antialias)
    return np.ascontiguousarray(resized.permute(0, 2, 3, 1).numpy())


def resize_mask(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize masks with nearest-neighbour interpolation: (T, H, W) bool to (T, height, width) bool."""
    rows = _nearest(mask.shape[1], height)
    columns = _nearest(mask.shape[2], width)
    return mask[:, rows[:, None], columns]


def _nearest(size: int, new_size: int) -> np.ndarray:
    """Return, for each of ``new_size`` pixels, the index of the old pixel under its centre."""
    return (np.arange(new_size) * 2 + 1) * size // (2 * new_size)
