"""Videos stored as a folder of numbered images: ``video/img_00001.jpg``, ``video/img_00002.jpg`` and so on."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

import numpy as np

from adamae.data.decoding.damage import open_file
from adamae.data.decoding.image_names import IMAGE_SUFFIXES
from adamae.data.decoding.image_pixels import read_image
from adamae.data.decoding.protocol import (
    ConvertedFrame,
    DecodeError,
    FrameFolder,
    read_frames,
    unique_sorted,
)

_NUMBERED = re.compile(r"(.*?)(\d+)(\.[^.]+)")
# Prefixes of the RGB frames: folders of optical flow contain several series.
_COLOURS = ("img_", "image_", "frame_", "")


def is_picture(name: str) -> bool:
    """Return whether a file name is that of a numbered image."""
    found = _NUMBERED.fullmatch(name)
    return found is not None and found[3].lower() in IMAGE_SUFFIXES and not name.startswith(".")


def open_folder(path: str) -> FrameFolderReader:
    """Open a folder of numbered images (see ``protocol.VideoReader``).

    Args:
        path: The folder. A :class:`~adamae.data.decoding.protocol.FrameFolder` also limits the number of frames.

    Raises:
        DecodeError: There are no images, several series of images, or an image is missing.
    """
    return FrameFolderReader(path, path.num_frames if isinstance(path, FrameFolder) else None)


class FrameFolderReader:
    """One video. Frame 0 is the first image, which may be numbered 0 or 1.

    Args:
        path: The folder.
        num_frames: Number of images to use; None for all.
    """

    # A folder of images stores no frame rate and no times.
    fps = 0.0
    times = None
    # A damaged image raises a DecodeError.
    damaged = 0

    def __init__(self, path: str, num_frames: int | None = None) -> None:
        self._path = str(path)
        self._names = self._series()[:num_frames]
        if num_frames is not None and len(self._names) < num_frames:
            prefix, number, suffix = _parts(self._names[-1])
            missing = f"{prefix}{int(number) + 1:0{len(number)}}{suffix}"
            raise DecodeError(
                self._path, f"{missing} is missing: {len(self._names)} images, and the list says {num_frames}"
            )

    @property
    def num_frames(self) -> int:
        """Number of images used."""
        return len(self._names)

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """See ``protocol.VideoReader.read``."""
        return read_frames(self, indices)

    def frames(self, wanted: Sequence[int]) -> Iterator[tuple[int, ConvertedFrame]]:
        """See ``protocol.VideoReader.frames``."""
        numbers, _ = unique_sorted(wanted, self.num_frames)
        size: tuple[int, int] | None = None
        for row, number in enumerate(numbers):
            frame = ConvertedFrame(self._open(self._names[number]))
            size = size or (frame.width, frame.height)
            if (frame.width, frame.height) != size:
                raise DecodeError(
                    self._path,
                    f"{self._names[number]} has {frame.width}x{frame.height} pixels, expected {size[0]}x{size[1]} "
                    f"as {self._names[numbers[0]]}",
                )
            yield row, frame

    def close(self) -> None:
        """Do nothing: no file is kept open."""

    def __enter__(self) -> FrameFolderReader:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _series(self) -> list[str]:
        """Return the names of the images in order, without gaps."""
        try:
            names = [name for name in os.listdir(self._path) if is_picture(name)]  # noqa: PTH208 (speed)
        except OSError as error:
            raise DecodeError(self._path, f"cannot be opened ({error.strerror})") from None
        return series_of(self._path, names)

    def _open(self, name: str) -> np.ndarray:
        place = os.path.join(self._path, name)  # noqa: PTH118 (speed)
        try:
            with open_file(place) as file:
                return read_image(place, file)
        except DecodeError as error:
            raise DecodeError(self._path, f"{name}: {error.reason}") from None


def series_of(folder: str, names: Sequence[str]) -> list[str]:
    """Return the file names of a video's frames in order.

    Args:
        folder: Path of the folder, for messages.
        names: File names of the numbered images in it, see :func:`is_picture`.

    Raises:
        DecodeError: There are no images, several series of images, or the numbers have a gap.
    """
    if not names:
        raise DecodeError(folder, "no numbered images in this folder, expected img_00001.jpg and so on")
    series: dict[tuple[str, str], list[str]] = {}
    for name in names:
        prefix, _, suffix = _parts(name)
        series.setdefault((prefix, suffix), []).append(name)
    candidates = list(series.values())
    if len(series) > 1:
        colours = next((prefix for prefix in _COLOURS if any(prefix == key[0] for key in series)), None)
        candidates = [group for key, group in series.items() if key[0] == colours]
    if len(candidates) != 1:
        some = ", ".join(sorted(group[0] for group in series.values())[:4])
        raise DecodeError(folder, f"several series of numbered images ({some}), expected one, or one named img_")
    ordered = sorted(candidates[0], key=_number)
    first = _number(ordered[0])
    for expected, name in enumerate(ordered, first if first in (0, 1) else 1):
        prefix, number, suffix = _parts(name)
        if int(number) != expected:
            missing = f"{prefix}{expected:0{len(number)}}{suffix}"
            raise DecodeError(folder, f"{missing} is missing: the images end at {ordered[-1]}")
    return ordered


def is_series(names: Sequence[str]) -> bool:
    """Return whether the files of a folder are the frames of a video: images numbered from 0 or 1 without gaps."""
    try:
        return bool(series_of("", [name for name in names if is_picture(name)]))
    except DecodeError:
        return False


def _parts(name: str) -> tuple[str, str, str]:
    """Return prefix, digits and suffix of an image's name."""
    found = _NUMBERED.fullmatch(name)
    assert found is not None
    return found[1], found[2], found[3]


def _number(name: str) -> int:
    return int(_parts(name)[1])
