"""Windows of equal length over a video, consecutive or overlapping, with their timestamps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from adamae.data.decoding import VideoReader
from adamae.data.views import ViewPlan, cut_views, resize_short_side
from adamae.errors import UserError


@dataclass(frozen=True)
class Windows:
    """Windows of a video.

    Attributes:
        num_frames: T, frames of each window that the network sees.
        sampling_rate: Stride of these frames.
        step: Frames from the start of one window to the start of the next; None: consecutive windows.
    """

    num_frames: int
    sampling_rate: int
    step: int | None = None

    @property
    def length(self) -> int:
        """Length of a window in frames of the video."""
        return self.num_frames * self.sampling_rate

    def starts(self, video_frames: int) -> np.ndarray:
        """Return the first frames of the windows of a video: (n,) int64, at least one.

        The last window ends at the end of the video, so every frame is covered. A video shorter than a window has one
        window.

        Raises:
            UserError: If the step is below 1.
        """
        step = self.length if self.step is None else self.step
        if step < 1:
            raise UserError(f"the stride of the windows is {step}, expected at least 1 frame")
        last = max(video_frames - self.length, 0)
        return np.union1d(np.arange(0, last + 1, step), [last])

    def frames(self, start: int, video_frames: int) -> np.ndarray:
        """Return the frame indices (T,) of the window from ``start``; those beyond the end are clamped."""
        numbers = start + self.sampling_rate * np.arange(self.num_frames)
        return np.minimum(numbers, video_frames - 1)


@dataclass(frozen=True)
class WindowTimes:
    """Positions of windows. Times are seconds from the video's first frame, NaN for folders of frames.

    Attributes:
        start_frame: (n,) int64 first frames.
        end_frame: (n,) int64 frames after the last.
        start: (n,) float64 times of the first frames.
        end: (n,) float64 times of the frames after the last.
    """

    start_frame: np.ndarray
    end_frame: np.ndarray
    start: np.ndarray
    end: np.ndarray


def window_times(windows: Windows, reader: VideoReader) -> WindowTimes:
    """Return the positions of the windows of an open video."""
    starts = windows.starts(reader.num_frames)
    ends = np.minimum(starts + windows.length, reader.num_frames)
    times = np.full(reader.num_frames + 1, np.nan) if reader.times is None else reader.times
    return WindowTimes(starts, ends, times[starts], times[ends])


def read_windows(windows: Windows, reader: VideoReader, plan: ViewPlan, batch_size: int) -> Iterator[np.ndarray]:
    """Read the windows of an open video, a few at a time, so that long videos fit into memory.

    Args:
        windows: Windows of the video.
        reader: The video.
        plan: Resize and crop of the frames.
        batch_size: Windows at a time.

    Yields:
        (n, T, S, S, 3) uint8.
    """
    starts = windows.starts(reader.num_frames)
    for first in range(0, len(starts), batch_size):
        numbers = np.stack([windows.frames(start, reader.num_frames) for start in starts[first : first + batch_size]])
        wanted, inverse = np.unique(numbers, return_inverse=True)
        frames = resize_short_side(reader.read(wanted), plan)
        yield cut_views(frames, inverse.reshape(numbers.shape), plan)
