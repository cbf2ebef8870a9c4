"""The units of H.264 and HEVC packets, of many packets at once, told apart by their first bytes without decoding."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from adamae.data.decoding.byte_ranges import ByteRanges

# What a packet's units are, as bits of one number.
PICTURE = 1  # part of a picture
FRESH = 2  # of one after which no frame refers to anything before it
REFERRED = 4  # of one that other packets may need
OTHER = 8  # neither the usual part of a picture nor a message, mark or filling: may change how others are read
BROKEN = 16  # sizes of units that do not add up to the packet's


@dataclass(frozen=True)
class NalCodec:
    """Where a codec's units say what they are.

    Attributes:
        size_at: Byte of the stream's header that holds the width of unit sizes.
        shift: Position of the unit's type in its first byte.
        mask: Of the type, after the shift.
        pictures: Types of parts of pictures.
        fresh: Those of random access points.
        referred: Bits of the first byte that are all zero where nothing refers to the picture; 0 for no such bits.
        usual: Types beside which a reader that knows nothing else promises nothing.
    """

    size_at: int
    shift: int
    mask: int
    pictures: frozenset[int]
    fresh: frozenset[int]
    referred: int
    usual: frozenset[int] = frozenset()

    @cached_property
    def kinds(self) -> np.ndarray:
        """(256,) uint8 what a unit is, by its first byte."""
        return np.array([self._kind(first) for first in range(256)], np.uint8)

    def _kind(self, first: int) -> int:
        type_ = first >> self.shift & self.mask
        other = 0 if type_ in self.usual else OTHER
        if type_ not in self.pictures:
            return other
        referred = REFERRED if not self.referred or first & self.referred else 0
        return PICTURE | other | referred | (FRESH if type_ in self.fresh else 0)

    def width(self, header: bytes) -> int:
        """Bytes of a unit's size by the stream's header; 0 where start codes set units apart."""
        return (header[self.size_at] & 3) + 1 if len(header) > self.size_at and header[0] == 1 else 0


NAL_CODECS = {
    # IDR alone: other intra pictures let later ones refer past them. Usual: whole slices, messages, marks and filling;
    # not headers that change the stream, nor pictures in parts or layers.
    "h264": NalCodec(4, 0, 0x1F, frozenset({1, 2, 5}), frozenset({5}), 0x60, frozenset({1, 5, 6, 9, 12})),
    # Every random access picture: those that follow it in both orders may not refer past it. Whether a picture is
    # referred to depends on the layers that there are, so all count as such.
    "hevc": NalCodec(21, 1, 0x3F, frozenset(range(22)), frozenset(range(16, 22)), 0),
}


def sized_units(file: ByteRanges, starts: np.ndarray, sizes: np.ndarray, codec: NalCodec, width: int) -> np.ndarray:
    """(n,) uint8 what all units of each packet are, together.

    Args:
        file: Where the packets lie.
        starts: (n,) int64 first bytes of the packets.
        sizes: (n,) int64 bytes of each.
        codec: Theirs.
        width: Bytes of the size that stands before each unit.

    Raises:
        OSError: The file cannot be read.
    """
    found = np.zeros(len(starts), np.uint8)
    rows, at, ends = np.arange(len(starts)), starts, starts + sizes
    places = 256 ** np.arange(width)[::-1]
    while len(rows):
        room = at + width < ends
        words = file.gather(at[room], width + 1) if room.any() else np.empty((0, width + 1), np.uint8)
        lengths = words[:, :width] @ places
        # A unit of no bytes does not exist, and zeros would be walked through one by one.
        broken = ~room
        broken[room] = lengths == 0
        found[rows[broken]] |= BROKEN
        rows, ends = rows[~broken], ends[~broken]
        found[rows] |= codec.kinds[words[lengths > 0, width]]
        at = at[~broken] + width + lengths[lengths > 0]
        left = at != ends
        rows, at, ends = rows[left], at[left], ends[left]
    return found


def marked_units(data: bytes, codec: NalCodec) -> int:
    """What all units of a packet are, together, where start codes set them apart."""
    found = 0
    at = data.find(b"\0\0\1")
    while 0 <= at < len(data) - 3:
        found |= int(codec.kinds[data[at + 3]])
        at = data.find(b"\0\0\1", at + 3)
    return found
