"""Frame sampling: pure functions of a frame count, options and random numbers.

Frame indices start at 0. Training functions draw from a generator; test functions return every view of a video.
The formulas are those of the official VideoMAE and AdaMAE code, quirks included, so that results are comparable.
"""

from __future__ import annotations

import numpy as np

from adamae.errors import UserError


def pretrain_dense(num_frames: int, length: int, stride: int, rng: np.random.Generator) -> np.ndarray:
    """Sample every ``stride``-th frame from a uniformly drawn start.

    A clip from a video shorter than ``length * stride`` starts at its first frame and repeats the last one it reaches.
    The official code counts frames from 1 while it steps and stops one short, so that frame is never the video's last.

    Args:
        num_frames: Number of frames in the video.
        length: Number of frames in the clip, T.
        stride: Distance between sampled frames.
        rng: The sample's generator; one number is drawn.

    Returns:
        (T,) int64, non-decreasing.
    """
    start = int(rng.integers(max(num_frames - length * stride + 1, 1)))
    reachable = max((num_frames - 2 - start) // stride, 0)
    return start + stride * np.minimum(np.arange(length), reachable)


def train_dense(num_frames: int, length: int, stride: int, rng: np.random.Generator) -> np.ndarray:
    """Sample a fine-tuning clip: (T,) int64 indices spread evenly over a random window of ``length * stride`` frames.

    Both ends of the window are included, so the effective stride is ``length * stride / (length - 1)``. For a video no
    longer than the window, ``num_frames // stride`` indices cover its full length, and the last frame is repeated.
    """
    window = length * stride
    if num_frames <= window:
        spread = np.linspace(0, num_frames, num=num_frames // stride)
        clip = np.concatenate([spread, np.full(length - len(spread), num_frames)])
        return np.clip(clip, 0, num_frames - 1).astype(np.int64)
    end = int(rng.integers(window, num_frames))
    return np.clip(np.linspace(end - window, end, num=length), 0, end - 1).astype(np.int64)


def train_segments(num_frames: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a uniform frame from each of ``length`` equal segments: (T,) int64; only frame 0 for shorter videos."""
    stretch = num_frames // length
    if stretch == 0:
        return np.zeros(length, np.int64)
    return np.arange(length) * stretch + rng.integers(stretch, size=length)


def views_dense(num_frames: int, length: int, stride: int, num_views: int) -> np.ndarray:
    """Return test clips whose starts are spread evenly over the video: (K, T) int64."""
    every = np.arange(0, num_frames, stride)
    every = np.concatenate([every, np.full(max(length - len(every), 0), every[-1])])
    step = max((len(every) - length) / max(num_views - 1, 1), 0)
    starts = [int(view * step) for view in range(num_views)]
    return np.stack([every[start : start + length] for start in starts])


def views_segments(num_frames: int, length: int, num_views: int) -> np.ndarray:
    """Return test clips that span the video, the second offset by half a segment: (K, T) int64.

    Raises:
        UserError: ``num_views`` is not 1 or 2.
    """
    if num_views not in (1, 2):
        raise UserError(f"number of temporal test views is {num_views}, expected 1 or 2 with segment sampling")
    tick = num_frames / length
    ticks = np.arange(length)
    both = np.sort(np.concatenate([tick * ticks, tick / 2 + tick * ticks]).astype(np.int64))
    return np.stack([both[view::2] for view in range(num_views)])


def spatial_starts(long_side: int, short_side: int, num_crops: int) -> list[int]:
    """Return the offsets of square test crops along the longer side, in pixels after resizing the short side."""
    step = (long_side - short_side) / max(num_crops - 1, 1)
    return [int(crop * step) for crop in range(num_crops)]
