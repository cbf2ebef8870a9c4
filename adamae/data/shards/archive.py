"""The bytes of a shard's members, read at any place with few files open."""

from __future__ import annotations

import errno
import os
import tarfile
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from adamae.data.decoding import DecodeError, EncodedVideo
from adamae.data.shards.headers import BLOCK
from adamae.randomness import windowed_permutation

# More than the shards of one window, so that none is opened twice in it.
_MOST_OPEN = 64
# Larger sizes do not stand in a member's own header in all tars.
_PLAIN_SIZE = 8**11


class OpenShards:
    """Shards, of which the last used are kept open. A forked process reads from the same files without harm.

    Args:
        paths: Of the tar files.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = tuple(paths)
        self._open: OrderedDict[int, int] = OrderedDict()

    def read(self, number: int, offset: int, size: int) -> bytes:
        """A member's header and ``size`` bytes of its content, in one reading.

        Raises:
            OSError: The shard is gone, or cannot be read.
        """
        try:
            return self._read(number, offset, size)
        except OSError as error:
            # Whatever it was may have passed when the file is opened anew.
            self._forget(number)
            if error.errno != errno.ESTALE:
                raise
        # A network's file system no longer knows what was open before its server went away.
        return self._read(number, offset, size)

    def _read(self, number: int, offset: int, size: int) -> bytes:
        data = os.pread(self._descriptor(number), BLOCK + size, offset - BLOCK)
        while 0 < len(data) < BLOCK + size:
            # A network's file system, and reads over 2 GiB, may give less than there is.
            more = os.pread(self._descriptor(number), BLOCK + size - len(data), offset - BLOCK + len(data))
            if not more:
                break
            data += more
        return data

    def _descriptor(self, number: int) -> int:
        if number in self._open:
            self._open.move_to_end(number)
            return self._open[number]
        descriptor = os.open(self._paths[number], os.O_RDONLY)
        self._open[number] = descriptor
        if len(self._open) > _MOST_OPEN:
            self._forget(next(iter(self._open)))
        return descriptor

    def _forget(self, number: int) -> None:
        descriptor = self._open.pop(number, None)
        if descriptor is not None:
            # Of a file that was only read, an error tells nothing.
            with suppress(OSError):
                os.close(descriptor)

    def close(self) -> None:
        """Close all files."""
        for number in list(self._open):
            self._forget(number)

    def __del__(self) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        """Travel to another process without the files."""
        return {"paths": self._paths}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["paths"])  # type: ignore[misc]


@dataclass(frozen=True)
class ShardMembers:
    """n videos within shards.

    Attributes:
        archive: The shards.
        names: What each of them is called in paths and messages.
        shard: (n,) int32 in which of them a video lies.
        offsets: (n,) int64 where it begins.
        sizes: (n,) int64 its bytes.
        window: Shards whose videos are shuffled together.
    """

    archive: OpenShards
    names: tuple[str, ...]
    shard: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    window: int

    def place(self, row: int) -> str:
        """The shard in which a video lies, for paths and messages."""
        return self.names[int(self.shard[row])]

    def read(self, row: int, name: str) -> EncodedVideo:
        """A video's bytes.

        Args:
            row: Which video.
            name: What messages call it.

        Raises:
            DecodeError: The shard is gone, breaks off, or has something else at this place.
        """
        number, offset, size = int(self.shard[row]), int(self.offsets[row]), int(self.sizes[row])
        try:
            data = self.archive.read(number, offset, size)
        except OSError as error:
            raise DecodeError(name, f"its shard cannot be read ({error.strerror or error})") from None
        if len(data) < BLOCK + size:
            raise DecodeError(name, "its shard ends before it does: is it cut off?")
        if size < _PLAIN_SIZE and _size_in_header(data[:BLOCK]) != size:
            raise DecodeError(name, "its shard has something else at this place: it does not fit its index")
        return EncodedVideo(name, data[BLOCK:])

    def order(self, seed: int, epoch: int) -> np.ndarray:
        """(n,) int64 the order in which an epoch visits the videos, a few shards at a time."""
        return windowed_permutation(seed, epoch, self.shard, self.window)

    def take(self, rows: np.ndarray) -> ShardMembers:
        """Some of the videos."""
        return replace(self, shard=self.shard[rows], offsets=self.offsets[rows], sizes=self.sizes[rows])


def _size_in_header(block: bytes) -> int:
    """The size that a member's header tells; -1 where there is no header."""
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape").size
    except tarfile.HeaderError:
        return -1
