"""Protocol of the decoder back ends: readers that return upright RGB frames by frame number."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from adamae.errors import UserError


class DecodeError(UserError):
    """A video that cannot be read: missing, empty, damaged, or not a video.

    Args:
        path: The file.
        reason: What is wrong with it, in one line.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason

    def __reduce__(self) -> tuple[type[DecodeError], tuple[str, str]]:
        """Make the exception picklable: a loader worker sends it to the main process with its two arguments."""
        return DecodeError, (self.path, self.reason)


@dataclass(frozen=True)
class EncodedVideo:
    """A complete video file in memory, for example from a shard.

    Attributes:
        name: Name of the video in messages.
        data: Bytes of the file.
    """

    name: str
    data: bytes


class FrameFolder(str):
    """Path of a folder of numbered images, with the number of frames in its list.

    Args:
        path: The folder.
        num_frames: Number of images to use.
    """

    num_frames: int

    def __new__(cls, path: str, num_frames: int) -> FrameFolder:
        """Create the path and set its number of frames."""
        folder = super().__new__(cls, path)
        folder.num_frames = num_frames
        return folder


# A path of a file or of a folder of images, or the bytes of a file.
VideoSource = str | EncodedVideo


def name_of(source: VideoSource) -> str:
    """Return the name of a video for messages."""
    return source if isinstance(source, str) else source.name


class DecodedFrame(Protocol):
    """A decoded frame, valid until the next one is decoded. Its colours are converted by :meth:`pixels`."""

    @property
    def height(self) -> int:
        """Height of the upright frame in pixels, the same for all frames of a video: that of the first frame."""

    @property
    def width(self) -> int:
        """Width of the upright frame in pixels, that of the first frame."""

    def pixels(self) -> np.ndarray:
        """Return the upright frame as (H, W, 3) uint8 RGB; call it before decoding the next frame.

        Raises:
            DecodeError: The colours cannot be converted.
        """


class VideoReader(Protocol):
    """One open video. Frames are numbered from 0 in presentation order."""

    @property
    def damaged(self) -> int:
        """Number of damaged packets skipped so far; see ``damage``."""

    @property
    def num_frames(self) -> int:
        """Number of frames that can be decoded, at least 1."""

    @property
    def fps(self) -> float:
        """Average frames per second, 0 if the file does not store it."""

    @property
    def times(self) -> np.ndarray | None:
        """Start time of each frame and end time of the last: (num_frames + 1,) float64 seconds from the first frame.

        Presentation times of the file, which may have a variable rate; None for a folder of images.
        """

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return upright frames as uint8 (T, H, W, 3) RGB.

        Args:
            indices: (T,) frame numbers in any order, repeats allowed, each within 0 .. num_frames - 1.

        Raises:
            DecodeError: Less than half of the video can be decoded.
            IndexError: A frame number lies outside the video.
        """

    def frames(self, wanted: Sequence[int]) -> Iterator[tuple[int, DecodedFrame]]:
        """Iterate over frames one at a time, if possible without keeping them in memory.

        Args:
            wanted: Distinct frame numbers in ascending order, each within 0 .. num_frames - 1.

        Yields:
            (row, frame): the frame ``wanted[row]``. If the packets turn out not to match their frame table, rows are
            yielded again, and the last frame yielded for a row is the correct one.

        Raises:
            DecodeError: As :meth:`read`.
            IndexError: A frame number lies outside the video.
        """

    def close(self) -> None:
        """Close the file."""

    def __enter__(self) -> VideoReader: ...

    def __exit__(self, *raised: object) -> None: ...


class OpenVideo(Protocol):
    """A back end's function that opens a video."""

    def __call__(self, source: VideoSource, *, num_frames: int | None = None) -> VideoReader:
        """Open a video.

        Args:
            source: A file, or the bytes of one.
            num_frames: Number of frames, if known: avoids counting them if the file does not store it.

        Raises:
            DecodeError: The file is missing, empty, truncated, not a video, or has no frames.
        """


def unique_sorted(indices: Sequence[int] | np.ndarray, num_frames: int) -> tuple[list[int], np.ndarray]:
    """Return the distinct frame numbers to decode and the rows that restore the order of ``indices``.

    Returns:
        The sorted distinct numbers, and (T,) rows such that ``distinct[rows]`` equals ``indices``.

    Raises:
        IndexError: A number lies outside 0 .. num_frames - 1, or ``indices`` is empty.
    """
    wanted = np.asarray(indices, dtype=np.int64)
    if wanted.ndim != 1 or not wanted.size or wanted.min() < 0 or wanted.max() >= num_frames:
        raise IndexError(f"frame numbers {wanted.tolist()} do not lie within a video of {num_frames} frames")
    distinct, rows = np.unique(wanted, return_inverse=True)
    return distinct.tolist(), rows


@dataclass(frozen=True)
class ConvertedFrame:
    """A :class:`DecodedFrame` of back ends that return frames already converted to RGB.

    Attributes:
        rgb: (H, W, 3) uint8, upright.
    """

    rgb: np.ndarray

    @property
    def height(self) -> int:
        """Height in pixels."""
        return len(self.rgb)

    @property
    def width(self) -> int:
        """Width in pixels."""
        return self.rgb.shape[1]

    def pixels(self) -> np.ndarray:
        """See :meth:`DecodedFrame.pixels`."""
        return self.rgb


def read_frames(reader: VideoReader, indices: Sequence[int] | np.ndarray) -> np.ndarray:
    """Implement :meth:`VideoReader.read` with :meth:`VideoReader.frames`."""
    wanted, rows = unique_sorted(indices, reader.num_frames)
    frames = np.empty((0, 0, 0, 3), np.uint8)
    for row, frame in reader.frames(wanted):
        if not len(frames):
            frames = np.empty((len(rows), frame.height, frame.width, 3), np.uint8)
        frames[rows == row] = frame.pixels()
    return frames


def spread(frames: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Expand distinct frames (U, H, W, 3) to the requested (T, H, W, 3); returns ``frames`` if they are the same."""
    return frames if np.array_equal(rows, np.arange(len(frames))) else frames[rows]


def library_reason(error: BaseException) -> str:
    """Return the first line of a library's error message, without timestamps and locations in its source code."""
    first = str(error).strip().partition("\n")[0] or type(error).__name__
    return re.sub(r".*\.(cc|cpp):\d+[:,]\s*", "", first)[:200]
