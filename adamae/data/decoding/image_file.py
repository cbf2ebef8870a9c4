"""Image files, read by Pillow as videos of one frame, independent of the decoder back end."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np

from adamae.data.decoding.damage import open_file
from adamae.data.decoding.image_pixels import read_image
from adamae.data.decoding.protocol import (
    ConvertedFrame,
    VideoSource,
    name_of,
    read_frames,
    unique_sorted,
)


def open_image(source: VideoSource) -> ImageReader:
    """Open an image file, or the bytes of one (see ``protocol.VideoReader``). It is decoded on first access.

    Raises:
        DecodeError: The file is missing, empty or cannot be read.
    """
    with open_file(source) as file:
        return ImageReader(name_of(source), file.read())


class ImageReader:
    """A video of one frame.

    Args:
        name: Name for messages.
        data: Bytes of the file.
    """

    num_frames = 1
    # An image has no duration.
    fps = 0.0
    times = None
    # A damaged image raises a DecodeError.
    damaged = 0

    def __init__(self, name: str, data: bytes) -> None:
        self._name, self._data = name, data

    @cached_property
    def _frame(self) -> ConvertedFrame:
        return ConvertedFrame(read_image(self._name, io.BytesIO(self._data)))

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """See ``protocol.VideoReader.read``."""
        return read_frames(self, indices)

    def frames(self, wanted: Sequence[int]) -> Iterator[tuple[int, ConvertedFrame]]:
        """See ``protocol.VideoReader.frames``."""
        unique_sorted(wanted, self.num_frames)
        yield 0, self._frame

    def close(self) -> None:
        """Do nothing: no file is kept open."""

    def __enter__(self) -> ImageReader:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()
