"""Read byte ranges of a file, which is in memory or, if it is large, on disk."""

from __future__ import annotations

import os
from io import FileIO
from typing import Protocol

import numpy as np

# Files that are larger are not kept in memory.
KEPT_BYTES = 128 * 2**20
# Number of ranges requested together, so that the disk or file server can process them in parallel.
_AT_ONCE = 1024


def is_kept(size: int) -> bool:
    """Return whether a file, or a part of it, of ``size`` bytes may be kept in memory."""
    return size <= KEPT_BYTES


class ByteRanges(Protocol):
    """The bytes of one file.

    Attributes:
        size: Size of the file in bytes.
    """

    size: int

    def read(self, start: int, count: int) -> bytes | memoryview:
        """Read ``count`` bytes from ``start`` on.

        Raises:
            OSError: They cannot be read.
        """

    def gather(self, starts: np.ndarray, count: int) -> np.ndarray:
        """Read ``count`` bytes at each of n offsets within the file, as (n, count) uint8.

        Raises:
            OSError: They cannot be read.
        """

    def close(self) -> None:
        """Close the file."""


class LoadedFile:
    """A file in memory.

    Args:
        data: Bytes of the file.
    """

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self._data = memoryview(data)
        self._bytes = np.frombuffer(data, np.uint8)

    def read(self, start: int, count: int) -> memoryview:
        """See :class:`ByteRanges`."""
        return self._data[start : start + count]

    def gather(self, starts: np.ndarray, count: int) -> np.ndarray:
        """See :class:`ByteRanges`."""
        return self._bytes[starts[:, None] + np.arange(count)]

    def close(self) -> None:
        """See :class:`ByteRanges`."""
        self._data, self._bytes = memoryview(b""), np.empty(0, np.uint8)


class OpenFile:
    """A file on disk, of which only the requested ranges are read.

    Args:
        file: The open file, unbuffered.
    """

    def __init__(self, file: FileIO) -> None:
        self.size = os.fstat(file.fileno()).st_size
        self._file = file

    def read(self, start: int, count: int) -> bytes:
        """See :class:`ByteRanges`."""
        self._file.seek(start)
        data = self._file.read(count)
        while len(data) < count:
            more = self._file.read(count - len(data))
            if not more:
                raise OSError(f"the file ends before byte {start + count}")
            data += more
        return data

    def gather(self, starts: np.ndarray, count: int) -> np.ndarray:
        """See :class:`ByteRanges`."""
        parts = []
        for first in range(0, len(starts), _AT_ONCE):
            places = starts[first : first + _AT_ONCE].tolist()
            if hasattr(os, "posix_fadvise"):
                for place in places:
                    os.posix_fadvise(self._file.fileno(), place, count, os.POSIX_FADV_WILLNEED)
            parts += [self.read(place, count) for place in places]
        return np.frombuffer(b"".join(parts), np.uint8).reshape(-1, count)

    def close(self) -> None:
        """See :class:`ByteRanges`."""
        self._file.close()
