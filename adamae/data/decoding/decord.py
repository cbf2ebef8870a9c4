"""decord back end. Known to return wrong frames on some files; see DATASET.md before choosing it."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from functools import cached_property

import decord
import numpy as np

from adamae.data.decoding.damage import load_file
from adamae.data.decoding.frame_times import frame_times
from adamae.data.decoding.protocol import (
    ConvertedFrame,
    DecodeError,
    VideoSource,
    library_reason,
    name_of,
    spread,
    unique_sorted,
)

# Damage is reported by an exception with the file's name; decord's own log lines would break the progress bar.
decord.logging.set_level(decord.logging.QUIET)


def open_video(source: VideoSource, *, num_frames: int | None = None) -> DecordReader:
    """Open a file, or the bytes of one (see ``protocol.VideoReader``); decord counts the frames.

    Raises:
        DecodeError: The file is missing, empty, truncated, not a video, or has no frames.
    """
    return DecordReader(load_file(source))


class DecordReader:
    """One video, decoded by one thread.

    Args:
        source: A video file, or the bytes of one.
    """

    # decord raises an error for damaged videos.
    damaged = 0

    def __init__(self, source: VideoSource) -> None:
        self._path = path = name_of(source)
        # A relative path with a colon would be taken for a URL.
        file = os.path.abspath(source) if isinstance(source, str) else io.BytesIO(source.data)  # noqa: PTH100
        try:
            self._reader = decord.VideoReader(file, ctx=decord.cpu(0), num_threads=1)
            self.fps = float(self._reader.get_avg_fps())
        except (decord.DECORDError, RuntimeError) as error:
            raise DecodeError(path, f"not a video that decord can read ({library_reason(error)})") from None
        if not self.num_frames:
            raise DecodeError(path, "no frame could be decoded")

    @cached_property
    def num_frames(self) -> int:
        """Number of frames in the file's index."""
        return len(self._reader)

    @cached_property
    def times(self) -> np.ndarray:
        """See ``protocol.VideoReader.times``; decord stores them in single precision."""
        seconds = self._reader.get_frame_timestamp(range(self.num_frames))[:, 0].astype(np.float64)
        # decord has no times for AVI.
        if not (np.diff(seconds) > 0).all():
            seconds = np.arange(self.num_frames) / (self.fps or 25)
        return frame_times(seconds, self.fps, unit=1e-3)

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """See ``protocol.VideoReader.read``."""
        wanted, rows = unique_sorted(indices, self.num_frames)
        try:
            frames: np.ndarray = self._reader.get_batch(wanted).asnumpy()
        except (decord.DECORDError, RuntimeError) as error:
            raise DecodeError(self._path, f"damaged: {library_reason(error)}") from None
        return spread(frames, rows)

    def frames(self, wanted: Sequence[int]) -> Iterator[tuple[int, ConvertedFrame]]:
        """See ``protocol.VideoReader.frames``; all frames are decoded together."""
        return enumerate(map(ConvertedFrame, self.read(wanted)))

    def close(self) -> None:
        """Close the file."""
        self._reader = None

    def __enter__(self) -> DecordReader:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()
