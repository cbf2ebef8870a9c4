"""Read packet offsets and presentation times of a plain MP4 file from its tables.

FFmpeg supports every kind of file, which costs milliseconds per file. This parser takes a tenth of that time, but only
reads files of which it knows every box: complete files with one H.264 track, upright, shown from the first frame to the
last. All other files are left to FFmpeg. For a clip of a prepared video this saves 20 to 23 % of the total CPU time
(docs/benchmarks/loader.md, 2026-11-26).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from struct import error as StructError
from typing import Any, NamedTuple

import numpy as np

from adamae.data.decoding.byte_ranges import ByteRanges
from adamae.data.decoding.mp4_boxes import Unpack, packet_starts, read_box_header, unpack_table

# Boxes that each box may contain. The ones that are not parsed cannot change the meaning of the parsed ones.
_KNOWN = {
    b"file": {b"ftyp", b"free", b"skip", b"wide", b"mdat", b"moov"},
    b"moov": {b"mvhd", b"trak", b"udta", b"iods"},
    b"trak": {b"tkhd", b"edts", b"mdia", b"udta"},
    b"edts": {b"elst"},
    b"mdia": {b"mdhd", b"hdlr", b"minf"},
    b"minf": {b"vmhd", b"dinf", b"stbl"},
    b"dinf": {b"dref"},
    b"dref": {b"url "},
    b"stbl": {b"stsd", b"stts", b"ctts", b"stss", b"stsc", b"stsz", b"stco", b"co64", b"sdtp"},
    b"stsd": {b"avc1"},
    b"avc1": {b"avcC", b"pasp", b"btrt", b"colr"},
}
# Bytes of a box before its child boxes.
_BEFORE = {b"dref": 8, b"stsd": 8, b"avc1": 78}
# Larger tables are left to FFmpeg.
_MOST_BYTES_OF_TABLES = 128 * 2**20
_UPRIGHT = (0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)


class Colour(NamedTuple):
    """Colour description of the container, as code points of ITU-T H.273."""

    primaries: int
    transfer: int
    matrix: int
    full_range: bool


@dataclass(frozen=True)
class Mp4Video:
    """A video track, with its packets in decoding order.

    Attributes:
        header: Header of the codec (avcC).
        colour: Colour description; None if the container has none.
        starts: (n,) int64 offsets of the packets in the file.
        sizes: (n,) int64 sizes of the packets in bytes, at least 1.
        times: (n,) int64 presentation times of the packets' frames, in units of the track.
        scale: Units of the track per second.
        fps: Average frames per second.
    """

    header: bytes
    colour: Colour | None
    starts: np.ndarray
    sizes: np.ndarray
    times: np.ndarray
    scale: int
    fps: float


def begins_mp4(first: bytes) -> bool:
    """Return whether a file may be MP4, by its first eight bytes."""
    return first[4:] == b"ftyp"


def read_plain_mp4(file: ByteRanges) -> Mp4Video | None:
    """Read the video track of a file; None if the file is not plain or cannot be read.

    Args:
        file: The file, of which only the tables are read.
    """
    try:
        return _video(_movie(file), file.size)
    except (_NotPlainError, StructError, ValueError, KeyError, IndexError, OSError):
        return None


class _NotPlainError(Exception):
    """The file contains something that this parser does not support."""


def _expect(holds: bool) -> None:
    if not holds:
        raise _NotPlainError


def _places(unpack: Unpack, kind: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield (kind, start, end) of the content of each box between ``start`` and ``end`` in a box of this kind."""
    at, known = start, _KNOWN[kind]
    while at < end:
        box = read_box_header(unpack, at)
        _expect(box.kind in known and box.content <= at + box.size <= end)
        at += box.size
        yield box.kind, box.content, at


@dataclass(frozen=True)
class _Box:
    data: bytes | memoryview
    kind: bytes
    start: int  # of its content
    end: int

    def boxes(self) -> list[_Box]:
        """Return all child boxes."""
        start = self.start + _BEFORE.get(self.kind, 0)
        places = _places(lambda form, at: form.unpack_from(self.data, at), self.kind, start, self.end)
        return [_Box(self.data, *place) for place in places]

    def parts(self) -> dict[bytes, _Box]:
        """Return the child boxes by kind; each kind may occur once."""
        found = self.boxes()
        parts = {box.kind: box for box in found}
        _expect(len(parts) == len(found))
        return parts

    def read(self, layout: str, at: int) -> tuple[Any, ...]:
        """Unpack numbers and names ``at`` bytes from the start of the content."""
        form = Struct(">" + layout)
        _expect(self.start + at + form.size <= self.end)
        return form.unpack_from(self.data, self.start + at)

    def table(self, columns: int, *, at: int = 4, width: int = 4) -> np.ndarray:
        """Read a table up to the box's end as (rows, columns) int64: a row count, then integers of ``width`` bytes."""
        (rows,) = self.read("I", at)
        first = self.start + at + 4
        _expect(self.end - first == rows * columns * width)
        return unpack_table(self.data, rows, columns, width=width, at=first)

    @property
    def version(self) -> int:
        """Version of the box, which determines the width of its times: 0 or 1."""
        version = self.read("B", 0)[0]
        _expect(version in (0, 1))
        return version


def _movie(file: ByteRanges) -> _Box:
    """Read the box with all tables."""
    places = _places(lambda form, at: form.unpack(file.read(at, form.size)), b"file", 0, file.size)
    ((start, end),) = [(start, end) for kind, start, end in places if kind == b"moov"]
    _expect(end - start <= _MOST_BYTES_OF_TABLES)
    return _Box(file.read(start, end - start), b"moov", 0, end - start)


def _video(movie: _Box, file_size: int) -> Mp4Video:
    boxes = movie.boxes()
    (movie_head,) = [box for box in boxes if box.kind == b"mvhd"]
    tracks = [parts for box in boxes if box.kind == b"trak" and (parts := _video_track(box))]
    _expect(len(tracks) == 1)
    parts = tracks[0]
    scale, movie_scale = _scale(parts[b"mdhd"]), _scale(movie_head)
    _expect(parts[b"tkhd"].read("9i", (40, 52)[parts[b"tkhd"].version]) == _UPRIGHT)
    _expect(movie_head.read("9i", (36, 48)[movie_head.version]) == _UPRIGHT)
    sizes = _sizes(parts[b"stsz"])
    steps = _repeated(parts[b"stts"], len(sizes))
    _expect(int(steps.sum()) > 0)
    times = np.cumsum(steps) - steps
    if b"ctts" in parts:
        times += _repeated(parts[b"ctts"], len(sizes))
    if b"elst" in parts:
        _expect(_shows_all(parts[b"elst"], times, steps, scale, movie_scale))
        times -= times.min()
    header, colour = _description(parts[b"stsd"])
    starts = _starts(parts, sizes)
    _expect(int((starts + sizes).max()) <= file_size)
    return Mp4Video(header, colour, starts, sizes, times, scale, len(sizes) * scale / int(steps.sum()))


def _video_track(track: _Box) -> dict[bytes, _Box] | None:
    """Return all boxes of a video track, including nested ones, by kind; None for an audio track, which is ignored."""
    parts = track.parts()
    parts |= parts[b"mdia"].parts()
    (kind,) = parts[b"hdlr"].read("4s", 8)
    if kind == b"soun":
        return None
    _expect(kind == b"vide")
    for name in (b"minf", b"dinf", b"stbl", *((b"edts",) if b"edts" in parts else ())):
        parts |= parts[name].parts()
    (place,) = parts[b"dref"].boxes()
    _expect(place.read("I", 0) == (1,))  # the same file
    return parts


def _scale(head: _Box) -> int:
    """Return the units per second."""
    (scale,) = head.read("I", (12, 20)[head.version])
    _expect(scale > 0)
    return scale


def _repeated(box: _Box, count: int) -> np.ndarray:
    """Expand runs of equal values to (count,) values."""
    runs = box.table(2)
    _expect(int(runs[:, 0].sum()) == count and int(runs[:, 1].max()) < 2**31)
    return np.repeat(runs[:, 1], runs[:, 0])


def _sizes(box: _Box) -> np.ndarray:
    (uniform,) = box.read("I", 4)
    _expect(uniform == 0)
    sizes = box.table(1, at=8)[:, 0]
    _expect(len(sizes) > 0 and int(sizes.min()) > 0)
    return sizes


def _starts(parts: dict[bytes, _Box], sizes: np.ndarray) -> np.ndarray:
    """Return the offsets of packets, which are contiguous within chunks."""
    chunks = (parts[b"co64"].table(1, width=8) if b"co64" in parts else parts[b"stco"].table(1))[:, 0]
    runs = parts[b"stsc"].table(3)  # first chunk, packets in each chunk, description
    _expect(bool((runs[:, 2] == 1).all()))
    return packet_starts(chunks, runs, sizes)


def _shows_all(box: _Box, times: np.ndarray, steps: np.ndarray, scale: int, movie_scale: int) -> bool:
    """Return whether an edit list shows each frame once, from the first to the last.

    Args:
        box: The edit list.
        times: Presentation times of the frames.
        steps: Durations of the frames.
        scale: Units of the track per second.
        movie_scale: Units of the movie per second, in which edits are measured.
    """
    (count,) = box.read("I", 4)
    layout, size = (("Ii2h", 12), ("Qq2h", 20))[box.version]
    _expect(box.end - box.start == 8 + count * size)
    edits = [box.read(layout, 8 + number * size) for number in range(count)]
    if len(edits) == 2 and edits[0][1] == -1:  # an empty edit: the video starts later than the audio
        del edits[0]
    if len(edits) != 1:
        return False
    (duration, first, *rate), latest = edits[0], int(times.max())
    last = first + duration * scale // movie_scale
    # Only the last frame may end after the edit does.
    return rate == [1, 0] and first == times.min() and latest < last and int((times + steps > last).sum()) <= 1


def _description(box: _Box) -> tuple[bytes, Colour | None]:
    """Return the codec's header and the colour description."""
    (entry,) = box.boxes()
    parts = entry.parts()
    header, colour = parts[b"avcC"], None
    if b"colr" in parts:
        kind, primaries, transfer, matrix, full = parts[b"colr"].read("4s3HB", 0)
        _expect(kind == b"nclx")
        colour = Colour(primaries, transfer, matrix, bool(full & 0x80))
    return bytes(box.data[header.start : header.end]), colour
