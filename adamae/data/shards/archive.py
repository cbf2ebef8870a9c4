"""Random access to the members of shards, with few open files."""

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

# More than the shards of one shuffling window, so that none is opened twice within it.
_MOST_OPEN = 64
# Not all tars store larger sizes in a member's own header.
_PLAIN_SIZE = 8**11


class OpenShards:
    """Shards, of which the most recently used are kept open. Forked processes can safely read from the same files.

    Args:
        paths: Paths of the tar files.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = tuple(paths)
        self._open: OrderedDict[int, int] = OrderedDict()

    def read(self, number: int, offset: int, size: int) -> bytes:
        """Read a member's header and ``size`` bytes of its content at once.

        Raises:
            OSError: The shard is missing or cannot be read.
        """
        try:
            return self._read(number, offset, size)
        except OSError as error:
            # The cause may be gone when the file is opened again.
            self._forget(number)
            if error.errno != errno.ESTALE:
                raise
        # A network file system loses open files when its server restarts.
        return self._read(number, offset, size)

    def _read(self, number: int, offset: int, size: int) -> bytes:
        data = os.pread(self._descriptor(number), BLOCK + size, offset - BLOCK)
        while 0 < len(data) < BLOCK + size:
            # Network file systems, and reads over 2 GiB, may return fewer bytes than requested.
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
            # An error while closing a file that was only read does not matter.
            with suppress(OSError):
                os.close(descriptor)

    def close(self) -> None:
        """Close all files."""
        for number in list(self._open):
            self._forget(number)

    def __del__(self) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        """Pickle without the open files."""
        return {"paths": self._paths}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["paths"])  # type: ignore[misc]


@dataclass(frozen=True)
class ShardMembers:
    """n videos within shards.

    Attributes:
        archive: The shards.
        names: Name of each shard in paths and messages.
        shard: (n,) int32 index of the shard of each video.
        offsets: (n,) int64 offset of each video in its shard, in bytes.
        sizes: (n,) int64 size of each video in bytes.
        window: Number of shards whose videos are shuffled together.
    """

    archive: OpenShards
    names: tuple[str, ...]
    shard: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    window: int

    def place(self, row: int) -> str:
        """Return the name of a video's shard, for paths and messages."""
        return self.names[int(self.shard[row])]

    def read(self, row: int, name: str) -> EncodedVideo:
        """Read a video's bytes.

        Args:
            row: Index of the video.
            name: Name of the video in messages.

        Raises:
            DecodeError: The shard is missing or truncated, or has something else at this offset.
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
        """Return (n,) int64, the order of the videos in an epoch, which visits a few shards at a time."""
        return windowed_permutation(seed, epoch, self.shard, self.window)

    def take(self, rows: np.ndarray) -> ShardMembers:
        """Return some of the videos, in the order of ``rows``."""
        return replace(self, shard=self.shard[rows], offsets=self.offsets[rows], sizes=self.sizes[rows])


def _size_in_header(block: bytes) -> int:
    """Return the size in a member's header; -1 if the block is not a header."""
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape").size
    except tarfile.HeaderError:
        return -1
