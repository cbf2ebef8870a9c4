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

from adamae.data.decoding.mp4_boxes import packet_starts, packets_per_chunk, read_box_header, unpack_table


class Truncation(NamedTuple):
    """Actual size of a truncated file, and the size stored in its container.

    Attributes:
        found: Size of what is in the file.
        expected: Size that the container stores.
        unit: Unit of the sizes: "frames" or "bytes".
    """

    found: int
    expected: int
    unit: str


class _Part(NamedTuple):
    kind: bytes
    start: int  # of its content
    end: int  # may lie beyond the end of the file


def find_truncation(file: BinaryIO) -> Truncation | None:
    """Return the stored and actual size of a truncated file; None if it is complete or stores no size."""
    size = file.seek(0, io.SEEK_END)
    first = _read(file, 0, 12)
    try:
        if first[4:8] in _FIRST_BOXES:
            return _mp4_truncation(file, size)
        if first[:4] == _EBML:
            return _matroska_truncation(file, size)
        if first[:4] == b"RIFF" and first[8:12] == b"AVI ":
            return _avi_truncation(file, size)
        if first[:4] == b"RIFF" and first[8:12] == b"WEBP":
            return _webp_truncation(file, size)
    except (StructError, ValueError, IndexError):
        pass  # other damage, which the decoder will report
    return None


def _read(file: BinaryIO, start: int, count: int) -> bytes:
    file.seek(start)
    return file.read(count)


# MP4 and QuickTime: boxes with a size and a kind, some of which contain boxes.

_FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[_Part]:
    """Iterate over the boxes up to ``end``; the last one may extend beyond it."""
    while start + 8 <= end:
        box = read_box_header(lambda form, at: form.unpack(_read(file, at, form.size)), start)
        stop = start + box.size if box.size else end
        if stop < box.content:
            return
        yield _Part(box.kind, box.content, stop)
        start = stop


def _mp4_truncation(file: BinaryIO, size: int) -> Truncation | None:
    last = movie = None
    for last in _boxes(file, 0, size):
        if last.kind == b"moov" and last.end <= size:
            movie = last
    if movie is None:
        return _cut_box(last, size)
    data = _read(file, movie.start, movie.end - movie.start)
    found, expected = _frames_within(io.BytesIO(data), len(data), size)
    if expected:
        return Truncation(found, expected, "frames") if found < expected else None
    # A fragmented file: each fragment has its own table.
    return _cut_box(last, size) if last is not None and last.kind in (b"moof", b"mdat") else None


def _cut_box(last: _Part | None, size: int) -> Truncation | None:
    """Return the truncation of a file of ``size`` bytes whose last box extends beyond its end."""
    return Truncation(size, last.end, "bytes") if last is not None and last.end > size else None


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
        within = np.clip((size - chunks) // uniform, 0, packets_per_chunk(chunks, runs, count))
        return int(within.sum()), count
    sizes = _numbers(movie, parts[b"stsz"], 1, at=8)[:, 0]
    return int((packet_starts(chunks, runs, sizes) + sizes <= size).sum()), count


def _numbers(file: BinaryIO, box: _Part, columns: int, *, at: int = 4, width: int = 4) -> np.ndarray:
    """Read a table as (rows, columns) int64: the number of rows, followed by unsigned integers."""
    (rows,) = Struct(">I").unpack(_read(file, box.start + at, 4))
    raw = _read(file, box.start + at + 4, rows * columns * width)
    return unpack_table(raw, rows, columns, width=width)


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


def _matroska_truncation(file: BinaryIO, size: int) -> Truncation | None:
    segment = next((part for part in _elements(file, 0, size) if part.kind == _SEGMENT), None)
    if segment is None or segment.end <= size:
        return None
    # Elements after the clusters may be missing: an index, tags.
    parts = [(part.kind == _CLUSTER, part.end <= size) for part in _elements(file, segment.start, size)]
    has_clusters = any(is_cluster for is_cluster, _ in parts)
    if has_clusters and not parts[-1][1] and not parts[-1][0]:
        return None
    return Truncation(size, segment.end, "bytes")


# AVI: chunks with a kind and a size, in one or several RIFF lists.

_CHUNK = Struct("<4sI")


def _chunks(file: BinaryIO, start: int, end: int) -> Iterator[_Part]:
    while start + 12 <= end:
        kind, size = _CHUNK.unpack(_read(file, start, 8))
        if kind in (b"RIFF", b"LIST"):
            kind = _read(file, start + 8, 4)
        yield _Part(kind, start + 8, start + 8 + size)
        start += 8 + size + size % 2


def _avi_truncation(file: BinaryIO, size: int) -> Truncation | None:
    for riff in _chunks(file, 0, size):
        # An interrupted recording has no sizes.
        if riff.end <= size or riff.end == riff.start or riff.kind not in (b"AVI ", b"AVIX"):
            continue
        movie = next((part for part in _chunks(file, riff.start + 4, size) if part.kind == b"movi"), None)
        if movie is None or movie.end > size:
            return Truncation(size, riff.end, "bytes")
    return None


# WebP: one RIFF list.


def _webp_truncation(file: BinaryIO, size: int) -> Truncation | None:
    _, length = _CHUNK.unpack(_read(file, 0, 8))
    return Truncation(size, 8 + length, "bytes") if 8 + length > size else None
