"""torchcodec back end, in its exact seeking mode. Needs FFmpeg's shared libraries; see DATASET.md."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
from torchcodec.decoders import VideoDecoder

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

# Number of frames decoded at a time if only their times are needed.
_AT_ONCE = 32


def open_video(source: VideoSource, *, num_frames: int | None = None) -> TorchcodecReader:
    """Open a file, or the bytes of one (see ``protocol.VideoReader``); torchcodec counts the frames.

    Raises:
        DecodeError: The file is missing, empty, truncated, not a video, or has no frames.
    """
    return TorchcodecReader(load_file(source))


class TorchcodecReader:
    """One video, decoded by one thread.

    Args:
        source: A video file, or the bytes of one.
    """

    # torchcodec raises an error for damaged videos.
    damaged = 0

    def __init__(self, source: VideoSource) -> None:
        self._path = path = name_of(source)
        # A relative path with a colon would be taken for a URL.
        file = os.path.abspath(source) if isinstance(source, str) else source.data  # noqa: PTH100
        try:
            self._decoder = VideoDecoder(file, seek_mode="exact", num_ffmpeg_threads=1, dimension_order="NHWC")
        except (RuntimeError, ValueError) as error:
            raise DecodeError(path, f"not a video that torchcodec can read ({library_reason(error)})") from None
        self.fps = float(self._decoder.metadata.average_fps or 0)
        if not self.num_frames:
            raise DecodeError(path, "no frame could be decoded")

    @cached_property
    def num_frames(self) -> int:
        """Number of frames found by scanning the file's packets."""
        return len(self._decoder)

    @cached_property
    def times(self) -> np.ndarray:
        """See ``protocol.VideoReader.times``; torchcodec returns them only together with decoded frames."""
        starts = range(0, self.num_frames, _AT_ONCE)
        try:
            parts = [
                self._decoder.get_frames_in_range(start, min(start + _AT_ONCE, self.num_frames)).pts_seconds.numpy()
                for start in starts
            ]
        except (RuntimeError, ValueError, IndexError) as error:
            raise DecodeError(self._path, f"damaged: {library_reason(error)}") from None
        return frame_times(np.concatenate(parts), self.fps, unit=1e-3)

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """See ``protocol.VideoReader.read``."""
        wanted, rows = unique_sorted(indices, self.num_frames)
        try:
            frames: np.ndarray = self._decoder.get_frames_at(wanted).data.numpy()
        except (RuntimeError, ValueError, IndexError) as error:
            raise DecodeError(self._path, f"damaged: {library_reason(error)}") from None
        return spread(frames, rows)

    def frames(self, wanted: Sequence[int]) -> Iterator[tuple[int, ConvertedFrame]]:
        """See ``protocol.VideoReader.frames``; all frames are decoded together."""
        return enumerate(map(ConvertedFrame, self.read(wanted)))

    def close(self) -> None:
        """Close the file."""
        del self._decoder

    def __enter__(self) -> TorchcodecReader:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()
