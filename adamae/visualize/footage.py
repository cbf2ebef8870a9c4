"""A video as the network sees it: every frame of it in exactly one clip."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from adamae.data.dataset import moving_path, read_moving
from adamae.data.decoding import DecodeError, VideoReader
from adamae.data.views import ViewPlan, cut_views, resize_short_side
from adamae.plain_text import one_line

# Frames that are decoded and shrunk at a time: a long video at full size does not fit into memory.
_AT_ONCE = 32


@dataclass(frozen=True)
class Cut:
    """Clips that together show each of F frames once.

    A network that takes every r-th frame sees a stretch of the video as r clips, each a frame later than the one
    before, so that a film of them has the video's own pace.

    Attributes:
        numbers: (C, T) int64 frames of each clip, 0 to F - 1.
        stretch: (C,) int64 which window of the video a clip belongs to.
        clip: (F,) int64 in which clip a frame is shown.
        position: (F,) int64 which of the clip's frames it is, 0 to T - 1.
    """

    numbers: np.ndarray
    stretch: np.ndarray
    clip: np.ndarray
    position: np.ndarray


def cut_into_clips(starts: np.ndarray, num_frames: int, length: int, stride: int) -> Cut:
    """Clips of a video's windows.

    Args:
        starts: (W,) first frames of windows that cover the video, ascending. Where windows overlap, the earlier one
            shows the frame.
        num_frames: F.
        length: T, frames in a clip.
        stride: r, frames from one of a clip's frames to the next. Beyond the end the last frame stands in.
    """
    numbers: list[np.ndarray] = []
    stretches: list[int] = []
    clip, position = np.full(num_frames, -1), np.full(num_frames, -1)
    for stretch, start in enumerate(starts):
        for first in range(start, start + stride):
            frames = first + stride * np.arange(length)
            places = np.flatnonzero(frames < num_frames)
            new = places[clip[frames[places]] < 0]
            if new.size:
                clip[frames[new]], position[frames[new]] = len(numbers), new
                numbers.append(np.minimum(frames, num_frames - 1))
                stretches.append(stretch)
    return Cut(np.stack(numbers), np.array(stretches), clip, position)


@dataclass(frozen=True)
class Footage:
    """What is shown of a video.

    Attributes:
        path: The file.
        frames: (F, S, S, 3) uint8, the square in the middle at the network's size.
        moving: (F, S, S) bool ground truth of what moves, where there is one beside the video.
        times: (F + 1,) float64 seconds at which the frames are shown and the last one ends, or (0,) without.
        first: Number of the first frame shown.
        total: Frames in the file.
        cut: The clips.
    """

    path: str
    frames: Tensor
    moving: Tensor | None
    times: np.ndarray
    first: int
    total: int
    cut: Cut

    @property
    def name(self) -> str:
        """The file's name without its suffix, as pictures and pages can show it."""
        return one_line(Path(self.path).stem)

    def clips(self, some: slice) -> Tensor:
        """(n, T, S, S, 3) uint8."""
        return self.frames[self.cut.numbers[some]]

    def moving_clips(self, some: slice) -> Tensor | None:
        """(n, T, S, S) bool where it is known."""
        return None if self.moving is None else self.moving[self.cut.numbers[some]]

    def in_time(self, clips: Tensor) -> Tensor:
        """(C, T, ...) what belongs to each clip's frames to (F, ...) what belongs to the video's."""
        return clips[self.cut.clip, self.cut.position]

    def seconds(self, frame: int) -> float:
        """Time of a shown frame within the file; only where there are times."""
        return float(self.times[frame])

    def stamp(self, frame: int) -> str:
        """Time of a shown frame in words, or its number where there are no times."""
        return f"{self.seconds(frame):.2f} s" if self.times.size else f"frame {self.first + frame}"


def choose_range(path: str, reader: VideoReader, start: float, seconds: float, least: int) -> range:
    """Which frames of a video are shown.

    Args:
        path: For the message.
        reader: The video.
        start: Seconds into the video.
        seconds: At most so many are shown.
        least: Frames without which there is nothing to show.

    Raises:
        DecodeError: If that leaves fewer than ``least`` frames.
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
    """Which frame is shown, with the part of its time that has passed; without the last digits, which are noise."""
    return round(float(np.interp(second, times, np.arange(len(times)))), 6)


def shown_times(reader: VideoReader) -> np.ndarray:
    """(num_frames + 1,) seconds of all frames and of the end; 25 frames in a second where the video does not tell."""
    return np.arange(reader.num_frames + 1) / 25 if reader.times is None else reader.times


def read_footage(path: str, reader: VideoReader, shown: range, plan: ViewPlan, cut: Cut) -> Footage:
    """Decode and shrink what is shown.

    Args:
        path: The file.
        reader: Open on it.
        shown: Which frames.
        plan: Its resize and its one square are used.
        cut: How the shown frames, counted from 0, make clips.

    Raises:
        DecodeError: A frame cannot be read.
    """
    known = moving_path(path).is_file()
    frames, moving = [], []
    for begin in range(shown.start, shown.stop, _AT_ONCE):
        numbers = np.arange(begin, min(begin + _AT_ONCE, shown.stop))
        frames.append(_square(reader.read(numbers), plan))
        if known:
            mask = read_moving(path, numbers).astype(np.uint8) * 255
            moving.append(_square(np.repeat(mask[..., None], 3, axis=-1), plan)[..., 0] > 127)
    return Footage(
        path=path,
        frames=torch.from_numpy(np.concatenate(frames)),
        moving=torch.from_numpy(np.concatenate(moving)) if known else None,
        times=shown_times(reader)[shown.start : shown.stop + 1],
        first=shown.start,
        total=reader.num_frames,
        cut=cut,
    )


def _square(frames: np.ndarray, plan: ViewPlan) -> np.ndarray:
    whole = np.arange(len(frames))[None]
    return cut_views(resize_short_side(frames, plan.short_side), whole, plan)[0]
