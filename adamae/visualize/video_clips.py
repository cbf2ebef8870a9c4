"""Frames of a video, split into clips such that each frame belongs to exactly one clip."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from adamae.data.decoding import DecodeError, VideoReader
from adamae.data.decoding.image_names import is_image
from adamae.data.motion_masks import has_motion_masks, read_motion_masks
from adamae.data.views import ViewPlan, cut_views, resize_short_side
from adamae.plain_text import one_line

# Frames decoded and resized at a time: a long video at full resolution does not fit into memory.
_AT_ONCE = 32


@dataclass(frozen=True)
class ClipIndices:
    """Frame indices of clips that together contain each of F frames once.

    With a stride of r, a window of the video is split into r clips, each shifted by one frame, so that all frames
    are shown at the frame rate of the video.

    Attributes:
        frames: (C, T) int64 frame indices of each clip, 0 to F - 1.
        window: (C,) int64 window of the video that a clip belongs to.
        clip: (F,) int64 clip that a frame is shown from.
        position: (F,) int64 position of the frame within the clip, 0 to T - 1.
    """

    frames: np.ndarray
    window: np.ndarray
    clip: np.ndarray
    position: np.ndarray

    @property
    def stride(self) -> int:
        """Frames of the video from one frame of a clip to the next."""
        return int(np.diff(self.frames, axis=1).max(initial=1))


def split_into_clips(starts: np.ndarray, num_frames: int, length: int, stride: int) -> ClipIndices:
    """Split the windows of a video into clips.

    Args:
        starts: (W,) ascending first frames of windows that cover the video. Frames in two windows are taken from the
            earlier one.
        num_frames: F.
        length: T, frames in a clip.
        stride: r, stride of the frames of a clip. Indices beyond the end are clamped to the last frame.
    """
    indices: list[np.ndarray] = []
    windows: list[int] = []
    clip, position = np.full(num_frames, -1), np.full(num_frames, -1)
    for window, start in enumerate(starts):
        for first in range(start, start + stride):
            frames = first + stride * np.arange(length)
            places = np.flatnonzero(frames < num_frames)
            new = places[clip[frames[places]] < 0]
            if new.size:
                clip[frames[new]], position[frames[new]] = len(indices), new
                indices.append(np.minimum(frames, num_frames - 1))
                windows.append(window)
    return ClipIndices(np.stack(indices), np.array(windows), clip, position)


@dataclass(frozen=True)
class VideoClips:
    """The shown frames of a video and their clips.

    Attributes:
        path: The file.
        frames: (F, S, S, 3) uint8, centre crop at the input size of the model.
        motion_mask: (F, S, S) bool ground truth, or None if there is none beside the video.
        times: (F + 1,) float64 timestamps of the frames in seconds and the end of the last one; (0,) if unknown.
        first: Index of the first shown frame.
        total: Number of frames of the file.
        cut: Frame indices of the clips.
    """

    path: str
    frames: Tensor
    motion_mask: Tensor | None
    times: np.ndarray
    first: int
    total: int
    cut: ClipIndices

    @property
    def name(self) -> str:
        """The file's name without its suffix, escaped for display."""
        return one_line(Path(self.path).stem)

    @property
    def noun(self) -> str:
        """Noun for labels: "image" or "video"."""
        return "image" if is_image(self.path) else "video"

    def clips(self, some: slice) -> Tensor:
        """(n, T, S, S, 3) uint8."""
        return self.frames[self.cut.frames[some]]

    def motion_mask_clips(self, some: slice) -> Tensor | None:
        """(n, T, S, S) bool, or None without a motion mask."""
        return None if self.motion_mask is None else self.motion_mask[self.cut.frames[some]]

    def in_time(self, clips: Tensor) -> Tensor:
        """Gather values per clip frame (C, T, ...) to values per video frame (F, ...)."""
        return clips[self.cut.clip, self.cut.position]

    def at(self, frame: int, clips: Tensor) -> Tensor:
        """Value of a video frame among values per clip frame: (C, T, ...) to (...)."""
        return clips[self.cut.clip[frame], self.cut.position[frame]]

    def seconds(self, frame: int) -> float:
        """Timestamp of a shown frame within the file; requires ``times``."""
        return float(self.times[frame])

    def stamp(self, frame: int) -> str:
        """Timestamp of a shown frame as text, or its index without ``times``; nothing for an image."""
        if self.noun == "image":
            return ""
        return f"{self.seconds(frame):.2f} s" if self.times.size else f"frame {self.first + frame}"


def choose_range(path: str, reader: VideoReader, start: float, seconds: float, least: int) -> range:
    """Choose the frames of a video to show.

    Args:
        path: For the error message.
        reader: The video.
        start: Start time in seconds.
        seconds: Maximum duration.
        least: Minimum number of frames.

    Raises:
        DecodeError: If there are fewer than ``least`` frames.
    """
    times = shown_times(reader)
    first = round(_frame_at(times, start))
    count = max(round(_frame_at(times, times[first] + seconds) - first), 1)
    frames = range(reader.num_frames)[first : first + count]
    if len(frames) < least:
        where = f" from second {start:g} on" if start else ""
        raise DecodeError(path, f"{len(frames)} frame{'s' * (len(frames) != 1)}{where}, expected at least {least}")
    return frames


def _frame_at(times: np.ndarray, second: float) -> float:
    """Fractional frame index at a time, rounded to suppress numerical noise."""
    return round(float(np.interp(second, times, np.arange(len(times)))), 6)


def shown_times(reader: VideoReader) -> np.ndarray:
    """(num_frames + 1,) timestamps of all frames and of the end in seconds; at 25 fps if the video has none."""
    return np.arange(reader.num_frames + 1) / 25 if reader.times is None else reader.times


def read_video_clips(path: str, reader: VideoReader, shown: range, plan: ViewPlan, cut: ClipIndices) -> VideoClips:
    """Decode and resize the shown frames.

    Args:
        path: The file.
        reader: The opened file.
        shown: Frame indices.
        plan: Resize and centre crop.
        cut: Clips of the shown frames, counted from 0.

    Raises:
        DecodeError: If a frame cannot be read.
    """
    known = has_motion_masks(path)
    frames, masks = [], []
    for begin in range(shown.start, shown.stop, _AT_ONCE):
        numbers = np.arange(begin, min(begin + _AT_ONCE, shown.stop))
        frames.append(_square(reader.read(numbers), plan))
        if known:
            mask = read_motion_masks(path, numbers).astype(np.uint8) * 255
            masks.append(_square(np.repeat(mask[..., None], 3, axis=-1), plan)[..., 0] > 127)
    return VideoClips(
        path=path,
        frames=torch.from_numpy(np.concatenate(frames)),
        motion_mask=torch.from_numpy(np.concatenate(masks)) if known else None,
        times=shown_times(reader)[shown.start : shown.stop + 1],
        first=shown.start,
        total=reader.num_frames,
        cut=cut,
    )


def _square(frames: np.ndarray, plan: ViewPlan) -> np.ndarray:
    whole = np.arange(len(frames))[None]
    return cut_views(resize_short_side(frames, plan), whole, plan)[0]
