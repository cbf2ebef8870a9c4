"""Parts of a file, which lies in memory or, if it is large, on the disk."""

from __future__ import annotations

import os
from io import FileIO
from typing import Protocol

import numpy as np

# Of larger files nothing is kept.
KEPT_BYTES = 128 * 2**20
# Places that are asked for at a time, so that the disk or the file server can work on many of them at once.
_AT_ONCE = 1024


def is_kept(size: int) -> bool:
    """Whether a file, or what is read of it, of so many bytes may lie in memory."""
    return size <= KEPT_BYTES


class ByteRanges(Protocol):
    """The bytes of one file.

    Attributes:
        size: How many there are.
    """

    size: int

    def read(self, start: int, count: int) -> bytes | memoryview:
        """Bytes from ``start`` on.

        Raises:
            OSError: They cannot be read.
        """

    def gather(self, starts: np.ndarray, count: int) -> np.ndarray:
        """(n, count) uint8, so many bytes from each of n places within the file.

        Raises:
            OSError: They cannot be read.
        """

    def close(self) -> None:
        """Give the file back."""


class LoadedFile:
    """A file in memory.

    Args:
        data: All of its bytes.
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
    """A file on the disk, of which nothing is read but what is asked for.

    Args:
        file: It, open and without a buffer.
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
