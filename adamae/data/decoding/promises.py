"""Detect truncated files by the sizes stored in their container, without decoding.

MP4 and QuickTime have a table of all frames; Matroska, WebM, AVI and WebP store the sizes of their parts in bytes.
Formats that may be cut anywhere (MPEG-TS, MPEG-PS, Ogg, FLV), and live recordings, do not store sizes.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from struct import Struct
from struct import error as StructError
from typing import BinaryIO, NamedTuple

import numpy as np


class Promise(NamedTuple):
    """Size of a truncated file: the actual size and the size stored in its container.

    Attributes:
        there: Amount in the file.
        whole: Amount that the container stores.
        what: Unit of the amounts: "frames" or "bytes".
    """

    there: int
    whole: int
    what: str


class _Part(NamedTuple):
    kind: bytes
    start: int  # of its content
    end: int  # may lie beyond the end of the file


def promise_of(file: BinaryIO) -> Promise | None:
    """Return the stored and actual size of a truncated file; None if it is complete or stores no size."""
    size = file.seek(0, io.SEEK_END)
    first = _read(file, 0, 12)
    try:
        if first[4:8] in _FIRST_BOXES:
            return _promise_of_mp4(file, size)
        if first[:4] == _EBML:
            return _promise_of_matroska(file, size)
        if first[:4] == b"RIFF" and first[8:12] == b"AVI ":
            return _promise_of_avi(file, size)
        if first[:4] == b"RIFF" and first[8:12] == b"WEBP":
            return _promise_of_webp(file, size)
    except (StructError, ValueError, IndexError):
        pass  # other damage, which the decoder will report
    return None


def _read(file: BinaryIO, start: int, count: int) -> bytes:
    file.seek(start)
    return file.read(count)


# MP4 and QuickTime: boxes with a size and a kind, some of which contain boxes.

_FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_BOX, _LARGE_BOX = Struct(">I4s"), Struct(">Q")


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[_Part]:
    """Iterate over the boxes up to ``end``; the last one may extend beyond it."""
    while start + 8 <= end:
        size, kind = _BOX.unpack(_read(file, start, 8))
        inside = start + 8
        if size == 1:
            (size,), inside = _LARGE_BOX.unpack(_read(file, inside, 8)), start + 16
        stop = start + size if size else end
        if stop < inside:
            return
        yield _Part(kind, inside, stop)
        start = stop


def _promise_of_mp4(file: BinaryIO, size: int) -> Promise | None:
    last = movie = None
    for last in _boxes(file, 0, size):
        if last.kind == b"moov" and last.end <= size:
            movie = last
    if movie is None:
        return _broken_off(last, size)
    data = _read(file, movie.start, movie.end - movie.start)
    there, whole = _frames_within(io.BytesIO(data), len(data), size)
    if whole:
        return Promise(there, whole, "frames") if there < whole else None
    # A fragmented file: each fragment has its own table.
    return _broken_off(last, size) if last is not None and last.kind in (b"moof", b"mdat") else None


def _broken_off(last: _Part | None, size: int) -> Promise | None:
    return Promise(size, last.end, "bytes") if last is not None and last.end > size else None


def _frames_within(movie: BinaryIO, movie_size: int, size: int) -> tuple[int, int]:
    """Return how many frames of the longest video track end within ``size`` bytes, and all; (0, 0) without a table."""
    most = 0, 0
    for track in _boxes(movie, 0, movie_size):
        media = _inside(movie, track, b"mdia") if track.kind == b"trak" else None
        handler = media and _inside(movie, media, b"hdlr")
        if media is None or not handler or _read(movie, handler.start + 8, 4) != b"vide":
            continue
        info = _inside(movie, media, b"minf")
        tables = info and _inside(movie, info, b"stbl")
        frames = (
            most if not tables else _packets_within({part.kind: part for part in _parts(movie, tables)}, movie, size)
        )
        most = frames if frames[1] > most[1] else most
    return most


def _parts(file: BinaryIO, outer: _Part) -> Iterator[_Part]:
    return _boxes(file, outer.start, outer.end)


def _inside(file: BinaryIO, outer: _Part, kind: bytes) -> _Part | None:
    return next((part for part in _parts(file, outer) if part.kind == kind), None)


def _packets_within(parts: dict[bytes, _Part], movie: BinaryIO, size: int) -> tuple[int, int]:
    if not parts.keys() >= {b"stsz", b"stsc"} or not parts.keys() & {b"stco", b"co64"}:
        return 0, 0
    uniform, count = Struct(">2I").unpack(_read(movie, parts[b"stsz"].start + 4, 8))
    if not count:
        return 0, 0
    wide = b"co64" in parts
    chunks = (_numbers(movie, parts[b"co64"], 1, width=8) if wide else _numbers(movie, parts[b"stco"], 1))[:, 0]
    runs = _numbers(movie, parts[b"stsc"], 3)
    if uniform:
        # No table bounds the count, which may be four billion in a damaged file: allocate nothing per packet.
        within = np.clip((size - chunks) // uniform, 0, _packets_in_chunks(chunks, runs, count))
        return int(within.sum()), count
    sizes = _numbers(movie, parts[b"stsz"], 1, at=8)[:, 0]
    return int((packet_starts(chunks, runs, sizes) + sizes <= size).sum()), count


def _numbers(file: BinaryIO, box: _Part, columns: int, *, at: int = 4, width: int = 4) -> np.ndarray:
    """Read a table as (rows, columns) int64: the number of rows, followed by unsigned integers."""
    (rows,) = Struct(">I").unpack(_read(file, box.start + at, 4))
    raw = _read(file, box.start + at + 4, rows * columns * width)
    return np.frombuffer(raw, f">u{width}", rows * columns).astype(np.int64).reshape(rows, columns)


def packet_starts(chunks: np.ndarray, runs: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the (n,) int64 offsets of packets, which are contiguous within chunks.

    Args:
        chunks: (C,) offsets of the chunks in bytes.
        runs: (R, 3) runs of chunks with equal numbers of packets: first chunk (from 1), packets per chunk, and kind.
        sizes: (n,) sizes of the packets in bytes.

    Raises:
        ValueError: The tables are inconsistent.
    """
    counts = _packets_in_chunks(chunks, runs, len(sizes))
    before = np.cumsum(sizes) - sizes
    first = np.cumsum(counts) - counts
    return before + np.repeat(chunks - before[first], counts)


def _packets_in_chunks(chunks: np.ndarray, runs: np.ndarray, count: int) -> np.ndarray:
    """Return the (C,) numbers of packets in the chunks; arguments and errors as in :func:`packet_starts`."""
    lengths = np.diff(runs[:, 0], append=len(chunks) + 1)
    if not len(runs) or runs[0, 0] != 1 or int(lengths.min()) <= 0:
        raise ValueError("chunks that are not in order")
    counts = np.repeat(runs[:, 1], lengths)
    if int(counts.sum()) != count or int(counts.min()) <= 0:
        raise ValueError("chunks that hold other packets than there are")
    return counts


# Matroska and WebM: elements with a kind and a size, both of variable length given by their first byte.

_EBML, _SEGMENT, _CLUSTER = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"


def _elements(file: BinaryIO, start: int, end: int) -> Iterator[_Part]:
    """Iterate over the elements up to ``end``; the last may extend beyond it. Stops at an element of unknown size."""
    while start < end:
        head = _read(file, start, 12)
        width = _width(head[0])
        length = _width(head[width])
        marked = int.from_bytes(head[width : width + length], "big")
        value = marked & (1 << 7 * length) - 1
        if value == (1 << 7 * length) - 1 or len(head) < width + length:
            return
        inside = start + width + length
        yield _Part(head[:width], inside, inside + value)
        start = inside + value


def _width(first: int) -> int:
    """Return the length in bytes of a number with this first byte."""
    if not first:
        raise ValueError("no number of Matroska")
    return 9 - first.bit_length()


def _promise_of_matroska(file: BinaryIO, size: int) -> Promise | None:
    segment = next((part for part in _elements(file, 0, size) if part.kind == _SEGMENT), None)
    if segment is None or segment.end <= size:
        return None
    # Elements after the clusters may be missing: an index, tags.
    parts = [(part.kind == _CLUSTER, part.end <= size) for part in _elements(file, segment.start, size)]
    pictures = any(is_cluster for is_cluster, _ in parts)
    if pictures and not parts[-1][1] and not parts[-1][0]:
        return None
    return Promise(size, segment.end, "bytes")


# AVI: chunks with a kind and a size, in one or several RIFF lists.

_CHUNK = Struct("<4sI")


def _chunks(file: BinaryIO, start: int, end: int) -> Iterator[_Part]:
    while start + 12 <= end:
        kind, size = _CHUNK.unpack(_read(file, start, 8))
        if kind in (b"RIFF", b"LIST"):
            kind = _read(file, start + 8, 4)
        yield _Part(kind, start + 8, start + 8 + size)
        start += 8 + size + size % 2


def _promise_of_avi(file: BinaryIO, size: int) -> Promise | None:
    for riff in _chunks(file, 0, size):
        # An interrupted recording has no sizes.
        if riff.end <= size or riff.end == riff.start or riff.kind not in (b"AVI ", b"AVIX"):
            continue
        movie = next((part for part in _chunks(file, riff.start + 4, size) if part.kind == b"movi"), None)
        if movie is None or movie.end > size:
            return Promise(size, riff.end, "bytes")
    return None


# WebP: one RIFF list.


def _promise_of_webp(file: BinaryIO, size: int) -> Promise | None:
    _, length = _CHUNK.unpack(_read(file, 0, 8))
    return Promise(size, 8 + length, "bytes") if 8 + length > size else None
