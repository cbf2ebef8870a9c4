"""Box headers and packet tables of MP4 and QuickTime.

Each caller iterates over the boxes itself: :mod:`~adamae.data.decoding.mp4` rejects files with boxes that it does not
know, :mod:`~adamae.data.decoding.truncation` skips those, and accepts incomplete boxes.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any, NamedTuple

import numpy as np

# Reads a struct at an offset.
Unpack = Callable[[Struct, int], tuple[Any, ...]]

_BOX, _LARGE_BOX = Struct(">I4s"), Struct(">Q")


class BoxHeader(NamedTuple):
    """Header of a box.

    Attributes:
        kind: Four bytes.
        size: Bytes from the start of the box to its end; 0 if it ends with the box around it.
        content: Offset of its content.
    """

    kind: bytes
    size: int
    content: int


def read_box_header(unpack: Unpack, at: int) -> BoxHeader:
    """Read the header of the box at an offset. The stored size is not checked."""
    size, kind = unpack(_BOX, at)
    if size != 1:
        return BoxHeader(kind, size, at + 8)
    (size,) = unpack(_LARGE_BOX, at + 8)
    return BoxHeader(kind, size, at + 16)


def unpack_table(data: bytes | memoryview, rows: int, columns: int, *, width: int = 4, at: int = 0) -> np.ndarray:
    """Return a table of unsigned integers of ``width`` bytes, at an offset of ``data``, as (rows, columns) int64.

    Raises:
        ValueError: The data ends before the table.
    """
    numbers = np.frombuffer(data, f">u{width}", rows * columns, at)
    return numbers.astype(np.int64).reshape(rows, columns)


def packet_starts(chunks: np.ndarray, runs: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the (n,) int64 offsets of packets, which are contiguous within chunks.

    Args:
        chunks: (C,) offsets of the chunks in bytes.
        runs: (R, 3) runs of chunks with equal numbers of packets: first chunk (from 1), packets per chunk, and kind.
        sizes: (n,) sizes of the packets in bytes.

    Raises:
        ValueError: The tables are inconsistent.
    """
    counts = packets_per_chunk(chunks, runs, len(sizes))
    before = np.cumsum(sizes) - sizes
    first = np.cumsum(counts) - counts
    return before + np.repeat(chunks - before[first], counts)


def packets_per_chunk(chunks: np.ndarray, runs: np.ndarray, count: int) -> np.ndarray:
    """Return the (C,) numbers of packets in the chunks.

    Args:
        chunks: (C,) offsets of the chunks in bytes.
        runs: (R, 3) runs of chunks, as in :func:`packet_starts`.
        count: Number of packets in all chunks.

    Raises:
        ValueError: The tables are inconsistent.
    """
    lengths = np.diff(runs[:, 0], append=len(chunks) + 1)
    if not len(runs) or runs[0, 0] != 1 or int(lengths.min()) <= 0:
        raise ValueError("chunks that are not in order")
    counts = np.repeat(runs[:, 1], lengths)
    if int(counts.sum()) != count or int(counts.min()) <= 0:
        raise ValueError("chunks that hold other packets than there are")
    return counts
