"""Crops of several clips, cut from frames one at a time, so that complete frames are never kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adamae.data.augmentation import Box, CropPlan, Transform, crop
from adamae.data.decoding import VideoReader
from adamae.data.decoding.protocol import unique_sorted


def read_crops(
    reader: VideoReader, clips: Sequence[np.ndarray], transform: Transform, rng: np.random.Generator
) -> tuple[list[CropPlan], list[np.ndarray], tuple[int, int]]:
    """Draw a crop for each of several clips of a video, and keep only the pixels inside it.

    Args:
        reader: The video.
        clips: (T,) frame indices of each clip in any order; clips may share frames.
        transform: Draws the crops, once the frame size is known.
        rng: Random number generator of the transform.

    Returns:
        The plan of each clip; the pixels of each clip in its box, (T, h, w, 3) uint8; height and width of full frames.

    Raises:
        DecodeError: Less than half of the video can be decoded.
        IndexError: A frame index is outside the video.
    """
    wanted, rows = unique_sorted(np.concatenate(clips), reader.num_frames)
    rows_of = np.split(rows, np.cumsum([len(clip) for clip in clips])[:-1])
    plans: list[CropPlan] = []
    parts: list[np.ndarray] = []
    size = (0, 0)
    for row, frame in reader.frames(wanted):
        if not plans:
            size = frame.height, frame.width
            plans = [transform.plan(*size, rng) for _ in clips]
            parts = [_empty(len(clip), plan.box) for clip, plan in zip(clips, plans, strict=True)]
        pixels = frame.pixels()
        for part, places, plan in zip(parts, rows_of, plans, strict=True):
            for place in np.flatnonzero(places == row):
                part[place] = crop(pixels[None], plan.box)[0]
    return plans, parts, size


def _empty(length: int, box: Box) -> np.ndarray:
    return np.empty((length, box.height, box.width, 3), np.uint8)
