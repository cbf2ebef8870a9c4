"""Classify the NAL units of many H.264 or HEVC packets at once by their first bytes, without decoding."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from adamae.data.decoding.byte_ranges import ByteRanges

# Kinds of NAL units, as bits of one number.
PICTURE = 1  # part of a coded frame
RANDOM_ACCESS = 2  # part of a random access point: no frame shown after it references anything before it
REFERENCE = 4  # part of a frame that other packets may reference
OTHER = 8  # neither a usual slice nor SEI, delimiter or filler: may change the meaning of others
BROKEN = 16  # the sizes of units do not add up to that of the packet


@dataclass(frozen=True)
class NalCodec:
    """Layout of a codec's NAL unit headers.

    Attributes:
        size_at: Byte of the stream's header that contains the width of the unit sizes.
        shift: Position of the unit type in the first byte of a unit.
        mask: Mask of the unit type, after the shift.
        pictures: Types of units that are part of a coded frame.
        random_access: Types of random access points.
        reference_bits: Bits of the first byte that are all zero if the frame is not referenced; 0 for no such bits.
        usual: Types that the MP4 fast path supports; all others are marked OTHER.
    """

    size_at: int
    shift: int
    mask: int
    pictures: frozenset[int]
    random_access: frozenset[int]
    reference_bits: int
    usual: frozenset[int] = frozenset()

    @cached_property
    def kinds(self) -> np.ndarray:
        """(256,) uint8 kind of a unit by its first byte."""
        return np.array([self._kind(first) for first in range(256)], np.uint8)

    def _kind(self, first: int) -> int:
        type_ = first >> self.shift & self.mask
        other = 0 if type_ in self.usual else OTHER
        if type_ not in self.pictures:
            return other
        reference = REFERENCE if not self.reference_bits or first & self.reference_bits else 0
        return PICTURE | other | reference | (RANDOM_ACCESS if type_ in self.random_access else 0)

    def width(self, header: bytes) -> int:
        """Return the bytes of a unit's size field according to the stream's header; 0 if start codes are used."""
        return (header[self.size_at] & 3) + 1 if len(header) > self.size_at and header[0] == 1 else 0


NAL_CODECS = {
    # Only IDR: after other intra frames, later frames may reference frames before them. Usual: complete slices, SEI,
    # delimiters and filler; not parameter sets, which may change the stream, nor data partitions or layers.
    "h264": NalCodec(4, 0, 0x1F, frozenset({1, 2, 5}), frozenset({5}), 0x60, frozenset({1, 5, 6, 9, 12})),
    # All random access pictures: frames that follow one in both orders may not reference frames before it. Whether a
    # frame is referenced depends on the layers in the stream, so all count as referenced.
    "hevc": NalCodec(21, 1, 0x3F, frozenset(range(22)), frozenset(range(16, 22)), 0),
}


def sized_units(file: ByteRanges, starts: np.ndarray, sizes: np.ndarray, codec: NalCodec, width: int) -> np.ndarray:
    """Return the combined kinds of all units of each packet, (n,) uint8, for units with size fields.

    Args:
        file: The file with the packets.
        starts: (n,) int64 offsets of the packets.
        sizes: (n,) int64 sizes of the packets in bytes.
        codec: Codec of the packets.
        width: Bytes of the size field before each unit.

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
        # Empty units are invalid, and a range of zeros would take one iteration per size field.
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
    """Return the combined kinds of all units of a packet, for units separated by start codes."""
    found = 0
    at = data.find(b"\0\0\1")
    while 0 <= at < len(data) - 3:
        found |= int(codec.kinds[data[at + 3]])
        at = data.find(b"\0\0\1", at + 3)
    return found
