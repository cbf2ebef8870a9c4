"""What every decoder back end gives: a reader that turns frame numbers into upright RGB frames."""

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
        """Travel from a loader worker to the main process, which rebuilds an exception from its arguments."""
        return DecodeError, (self.path, self.reason)


@dataclass(frozen=True)
class EncodedVideo:
    """A whole video file in memory, as it comes out of a shard.

    Attributes:
        name: Where it comes from, for messages.
        data: The file's bytes.
    """

    name: str
    data: bytes


class FrameFolder(str):
    """The path of a folder of numbered pictures, and how many of them its list counts.

    Args:
        path: The folder.
        num_frames: Pictures that count.
    """

    num_frames: int

    def __new__(cls, path: str, num_frames: int) -> FrameFolder:
        """A text that knows a number."""
        folder = super().__new__(cls, path)
        folder.num_frames = num_frames
        return folder


# What is opened: a file or a folder of pictures, or the bytes of a file.
VideoSource = str | EncodedVideo


def name_of(source: VideoSource) -> str:
    """What messages call a video."""
    return source if isinstance(source, str) else source.name


class DecodedFrame(Protocol):
    """A decoded frame, valid until the next one; its colours are converted only when they are asked for."""

    @property
    def height(self) -> int:
        """Of the upright frame, in pixels; that of the first frame for all of a video."""

    @property
    def width(self) -> int:
        """Likewise."""

    def pixels(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB, upright, to be read before the next frame.

        Raises:
            DecodeError: The colours cannot be converted.
        """


class VideoReader(Protocol):
    """One open video. Frames are numbered from 0 in the order in which they are shown."""

    @property
    def damaged(self) -> int:
        """Damaged packets that were passed over in what was read so far; see ``damage``."""

    @property
    def num_frames(self) -> int:
        """How many frames can be decoded, at least 1."""

    @property
    def fps(self) -> float:
        """Average frames per second, 0 where the file does not tell."""

    @property
    def times(self) -> np.ndarray | None:
        """When each frame is shown and the last one ends: (num_frames + 1,) float64 seconds from the first frame.

        Presentation times of the file, which need not be even; None for a folder of pictures.
        """

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Frames as uint8 (T, H, W, 3) RGB, upright.

        Args:
            indices: (T,) frame numbers in any order, repeats allowed, each within 0 .. num_frames - 1.

        Raises:
            DecodeError: Less than half of the video can be decoded.
            IndexError: A frame number lies outside the video.
        """

    def frames(self, wanted: Sequence[int]) -> Iterator[tuple[int, DecodedFrame]]:
        """Frames one at a time, without keeping them where that can be.

        Args:
            wanted: Distinct frame numbers, rising, each within 0 .. num_frames - 1.

        Yields:
            (row, frame): the frame ``wanted[row]``. Where a file turns out not to hold what it promised, rows come
            again, and the last frame of a row is the right one.

        Raises:
            DecodeError: As :meth:`read`.
            IndexError: A frame number lies outside the video.
        """

    def close(self) -> None:
        """Give the file back."""

    def __enter__(self) -> VideoReader: ...

    def __exit__(self, *raised: object) -> None: ...


class OpenVideo(Protocol):
    """A back end's function that opens a video."""

    def __call__(self, source: VideoSource, *, num_frames: int | None = None) -> VideoReader:
        """The video's reader.

        Args:
            source: A file, or the bytes of one.
            num_frames: How many frames it has, if that is known: saves counting them where the file does not tell.

        Raises:
            DecodeError: Missing, empty, cut off, not a video, or without a frame.
        """


def unique_sorted(indices: Sequence[int] | np.ndarray, num_frames: int) -> tuple[list[int], np.ndarray]:
    """Split wanted frame numbers into what to decode and where it goes.

    Returns:
        The sorted distinct numbers, and the (T,) rows of those that give ``indices`` back.

    Raises:
        IndexError: A number lies outside 0 .. num_frames - 1, or there is none.
    """
    wanted = np.asarray(indices, dtype=np.int64)
    if wanted.ndim != 1 or not wanted.size or wanted.min() < 0 or wanted.max() >= num_frames:
        raise IndexError(f"frame numbers {wanted.tolist()} do not lie within a video of {num_frames} frames")
    distinct, rows = np.unique(wanted, return_inverse=True)
    return distinct.tolist(), rows


@dataclass(frozen=True)
class ConvertedFrame:
    """A :class:`DecodedFrame` of back ends that only give converted ones.

    Attributes:
        rgb: (H, W, 3) uint8, upright.
    """

    rgb: np.ndarray

    @property
    def height(self) -> int:
        """In pixels."""
        return len(self.rgb)

    @property
    def width(self) -> int:
        """In pixels."""
        return self.rgb.shape[1]

    def pixels(self) -> np.ndarray:
        """See :meth:`DecodedFrame.pixels`."""
        return self.rgb


def read_frames(reader: VideoReader, indices: Sequence[int] | np.ndarray) -> np.ndarray:
    """:meth:`VideoReader.read` by :meth:`VideoReader.frames`."""
    wanted, rows = unique_sorted(indices, reader.num_frames)
    frames = np.empty((0, 0, 0, 3), np.uint8)
    for row, frame in reader.frames(wanted):
        if not len(frames):
            frames = np.empty((len(rows), frame.height, frame.width, 3), np.uint8)
        frames[rows == row] = frame.pixels()
    return frames


def spread(frames: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Distinct frames (U, H, W, 3) as the (T, H, W, 3) that were asked for; not copied where that is the same."""
    return frames if np.array_equal(rows, np.arange(len(frames))) else frames[rows]


def one_line(error: BaseException) -> str:
    """The first line of a library's message, without times and places in the library's own source."""
    first = str(error).strip().partition("\n")[0] or type(error).__name__
    return re.sub(r".*\.(cc|cpp):\d+[:,]\s*", "", first)[:200]
