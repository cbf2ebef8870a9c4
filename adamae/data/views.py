"""Views of complete videos for validation and test: frame sampling, spatial crops, and all views from one decode.

Frame indices and crops are those of the reference implementation. It decodes the complete video once for every view;
here the frames of all views are decoded and resized once, and views are cut from them. Only the validation clip is
random: its start depends on the seed and the row alone, so that every validation uses the same pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from adamae.checks import check_choice
from adamae.data.annotations import Annotations
from adamae.data.augmentation import Box, crop, resize
from adamae.data.decoding import DecodeError, VideoReader
from adamae.data.frame_indices import spatial_starts, train_dense, train_segments, views_dense, views_segments
from adamae.data.opening import VideoOpener
from adamae.data.watch import Watch
from adamae.errors import UserError
from adamae.randomness import sample_generator

# (frames in the video, generator) -> (K, T) frame indices
ChooseViews = Callable[[int, np.random.Generator], np.ndarray]
FRAME_SAMPLINGS = ("dense", "segment")


@dataclass(frozen=True)
class ViewPlan:
    """Views of a video: K temporal clips times J spatial crops. Created by the functions below.

    Attributes:
        choose: Samples the frames of all clips.
        num_clips: Number of clips, K.
        num_crops: Number of square crops, J, spread evenly along the longer side; a single one is centred.
        num_frames: Number of frames in a clip, T.
        size: Height and width of a view in pixels.
        short_side: Length in pixels to which the shorter side is resized before cropping.
    """

    choose: ChooseViews
    num_clips: int
    num_crops: int
    num_frames: int
    size: int
    short_side: int

    @property
    def num_views(self) -> int:
        """Number of views, V = K * J."""
        return self.num_clips * self.num_crops

    def boxes(self, height: int, width: int) -> list[Box]:
        """Return the J crops within resized frames of ``height`` by ``width`` pixels."""
        long, size = max(height, width), self.size
        # Half a pixel is rounded to an even number, as in the reference implementation.
        starts = [round((long - size) / 2)] if self.num_crops == 1 else spatial_starts(long, size, self.num_crops)
        # Crops are centred along the short side.
        across = round((min(height, width) - size) / 2)
        corners = [(across, start) if width >= height else (start, across) for start in starts]
        return [Box(top, left, size, size) for top, left in corners]


def plan_test(
    *,
    num_frames: int,
    sampling_rate: int,
    size: int,
    frame_sampling: str = "dense",
    num_clips: int | None = None,
    num_crops: int = 3,
    short_side: int | None = None,
) -> ViewPlan:
    """Plan the multi-view test of the official code.

    The official code does not support a single clip or crop. Here a single crop, and a single clip with dense sampling,
    is the middle one; a single clip with segment sampling is the first of two.

    Args:
        num_frames: Number of frames in a clip, T.
        sampling_rate: Frame stride ("dense" only).
        size: Height and width of a view in pixels.
        frame_sampling: "dense" spreads clips over the video; "segment" spreads each clip over the video.
        num_clips: Number of clips; None for 1 if ``num_frames`` is 1 (images), else 5 for "dense" as in the official
            code, or 2 for "segment", which supports no more.
        num_crops: Number of crops of each clip.
        short_side: Length in pixels of the shorter side before cropping; None for ``size``.

    Raises:
        UserError: If a number is out of range, or ``frame_sampling`` is unknown.
    """
    check_choice("frame_sampling", frame_sampling, FRAME_SAMPLINGS)
    if num_clips is None:
        num_clips = 1 if num_frames == 1 else 5 if frame_sampling == "dense" else 2
    if min(num_clips, num_crops) < 1:
        raise UserError(f"{num_clips} clips by {num_crops} crops: expected at least 1 of each")
    if frame_sampling == "segment":
        # Checks the number of clips before any video is read.
        views_segments(1, 1, num_clips)
        segments = partial(views_segments, length=num_frames, num_views=num_clips)
        choose: ChooseViews = partial(_choose_fixed, segments)
    else:
        dense = partial(_dense_clips, length=num_frames, stride=sampling_rate, num_clips=num_clips)
        choose = partial(_choose_fixed, dense)
    return ViewPlan(choose, num_clips, num_crops, num_frames, size, _short_side(short_side, size))


def plan_validation(
    *, num_frames: int, sampling_rate: int, size: int, frame_sampling: str = "dense", short_side: int | None = None
) -> ViewPlan:
    """Plan one view per video: frames as in fine-tuning, and a centre crop.

    Arguments and errors are those of :func:`plan_test`.
    """
    check_choice("frame_sampling", frame_sampling, FRAME_SAMPLINGS)
    if frame_sampling == "segment":
        choose: ChooseViews = partial(_choose_segments, length=num_frames)
    else:
        choose = partial(_choose_dense, length=num_frames, stride=sampling_rate)
    return ViewPlan(choose, 1, 1, num_frames, size, _short_side(short_side, size))


class VideoViews(Dataset[dict[str, Any]]):
    """Map-style dataset from a row of a list to all views of its video.

    Args:
        annotations: The videos.
        plan: Views of each video.
        seed: Seed that, with the row, determines the start of a validation clip.
        decoder: A name from ``decoding.DECODERS``.
        video_timeout: Time limit per video in seconds; 0 for no limit.
    """

    def __init__(
        self,
        annotations: Annotations,
        plan: ViewPlan,
        *,
        seed: int = 0,
        decoder: str = "pyav",
        video_timeout: float = 60.0,
    ) -> None:
        self.annotations = annotations
        self.plan = plan
        self.seed = seed
        self.watch = Watch(len(annotations), video_timeout)
        self._open_row = VideoOpener(annotations, decoder)

    def __len__(self) -> int:
        return len(self.annotations)

    def __getitem__(self, row: int) -> dict[str, Any]:
        """Load all views of one video.

        Returns:
            ``row``, ``label`` and ``path``; and either ``views`` (V, T, S, S, 3) uint8, clip by clip and within a clip
            crop by crop, with ``damaged``, the number of skipped packets; or ``reason``, why the video cannot be read
            or is quarantined.
        """
        label, path = int(self.annotations.labels[row]), self.annotations.path(row)
        item: dict[str, Any] = {"row": row, "label": label, "path": path}
        try:
            with self.watch.over(row, path):
                views, damaged = self.read(row)
        except DecodeError as error:
            return item | {"reason": error.reason}
        return item | {"views": torch.from_numpy(views), "damaged": damaged}

    def open(self, row: int) -> VideoReader:
        """Open the video of a row.

        Raises:
            DecodeError: The video cannot be read.
        """
        return self._open_row(row)

    def read(self, row: int) -> tuple[np.ndarray, int]:
        """Return the views of one video (V, T, S, S, 3) uint8, and the number of skipped packets.

        Raises:
            DecodeError: The video cannot be read.
        """
        with self.open(row) as reader:
            clips = self.plan.choose(reader.num_frames, sample_generator(self.seed, 0, row))
            wanted, places = np.unique(clips, return_inverse=True)
            frames = resize_short_side(reader.read(wanted), self.plan)
            damaged = reader.damaged
        return cut_views(frames, places.reshape(clips.shape), self.plan), damaged


def cut_views(frames: np.ndarray, clips: np.ndarray, plan: ViewPlan) -> np.ndarray:
    """Cut all views from resized frames.

    Args:
        frames: (U, H, W, 3) uint8.
        clips: (K, T) indices into ``frames`` for each clip.
        plan: Defines the crops.

    Returns:
        (K * J, T, S, S, 3) uint8.
    """
    boxes = plan.boxes(*frames.shape[1:3])
    views = np.empty((len(clips), len(boxes), clips.shape[1], plan.size, plan.size, 3), np.uint8)
    for number, box in enumerate(boxes):
        square = crop(frames, box)
        for clip, places in enumerate(clips):
            views[clip, number] = square[places]
    return views.reshape(-1, *views.shape[2:])


def resize_short_side(frames: np.ndarray, plan: ViewPlan) -> np.ndarray:
    """Resize the shorter side of frames for a plan, the longer side in proportion and rounded down.

    Clips are resized bilinearly without antialiasing, as in the official test code: its networks were fine-tuned on
    such pixels. Single frames are resized as is usual for images: bicubic, with antialiasing.

    Args:
        frames: (U, H, W, 3) uint8.
        plan: Its ``short_side`` is the new length of the shorter side.

    Returns:
        (U, H', W', 3) uint8, contiguous.
    """
    height, width = frames.shape[1:3]
    side = plan.short_side
    if min(height, width) == side:
        return np.ascontiguousarray(frames)
    new = (side, side * width // height) if height <= width else (side * height // width, side)
    if plan.num_frames == 1:
        return resize(frames, new[0], new[1], "bicubic")
    return resize(frames, new[0], new[1], antialias=False)


def _short_side(short_side: int | None, size: int) -> int:
    if short_side is None:
        return size
    if short_side < size:
        raise UserError(f"short side {short_side}: expected at least the size of the views, {size}")
    return short_side


# Functions instead of closures, so that a dataset can be pickled for a worker that is not forked.


def _choose_fixed(clips: Callable[[int], np.ndarray], num_frames: int, rng: np.random.Generator) -> np.ndarray:
    return clips(num_frames)


def _choose_dense(num_frames: int, rng: np.random.Generator, *, length: int, stride: int) -> np.ndarray:
    return train_dense(num_frames, length, stride, rng)[None]


def _choose_segments(num_frames: int, rng: np.random.Generator, *, length: int) -> np.ndarray:
    return train_segments(num_frames, length, rng)[None]


def _dense_clips(num_frames: int, *, length: int, stride: int, num_clips: int) -> np.ndarray:
    # A single clip is the middle one of three.
    clips = views_dense(num_frames, length, stride, 3 if num_clips == 1 else num_clips)
    return clips[1:2] if num_clips == 1 else clips
