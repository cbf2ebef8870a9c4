"""Find out from the header of an H.264 stream whether its frames are reordered."""

from __future__ import annotations

from functools import lru_cache

# Bytes of the size field before each NAL unit.
UNIT_WIDTH = 4
# Profiles whose header contains the pixel format.
_LONG_PROFILES = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}


@lru_cache(maxsize=64)
def reorders(header: bytes) -> bool | None:
    """Return whether frames are decoded in another order than they are shown in.

    Args:
        header: The header of a stream in MP4 (avcC).

    Returns:
        None if the header does not contain it, allows interlaced fields, or allows units whose size field is not four
        bytes.
    """
    # Only if the stream has a single sequence parameter set, which then applies to all frames.
    if len(header) < 8 or header[0] != 1 or header[4] & 3 != UNIT_WIDTH - 1 or header[5] & 0x1F != 1:
        return None
    try:
        return _reorders(header[8 : 8 + int.from_bytes(header[6:8], "big")])
    except IndexError:
        return None


def _reorders(unit: bytes) -> bool | None:
    """Parse a sequence parameter set: ITU-T H.264, 7.3.2.1.1."""
    bits = _Bits(unit[4:].replace(b"\0\0\3", b"\0\0"))
    bits.numbers(1)
    if unit[1] in _LONG_PROFILES:
        if bits.number() == 3:  # 4:4:4
            bits.bits(1)
        bits.numbers(2)
        if bits.bits(2) & 1:
            return None  # scaling matrices, which are not parsed here
    bits.numbers(1)
    order = bits.number()
    if order == 0:
        bits.numbers(1)
    elif order == 1:
        bits.bits(1)
        bits.numbers(2)
        bits.numbers(bits.number())
    bits.numbers(1)
    bits.bits(1)
    bits.numbers(2)
    whole = bits.bits(1)
    bits.bits(1)
    if bits.bits(1):
        bits.numbers(4)  # cropping
    if not whole:
        return None
    promised = _order(bits) if bits.bits(1) else None
    # Intra-only profiles.
    return False if promised is None and unit[1] in _LONG_PROFILES and unit[2] & 0x10 else promised


def _order(bits: _Bits) -> bool | None:
    """Parse its last part, the video usability information: E.1.1."""
    if bits.bits(1) and bits.bits(8) == 255:  # sample aspect ratio
        bits.bits(32)
    if bits.bits(1):  # overscan
        bits.bits(1)
    if bits.bits(1) and bits.bits(5) & 1:  # colours
        bits.bits(24)
    if bits.bits(1):  # chroma location
        bits.numbers(2)
    if bits.bits(1):  # frame rate
        bits.bits(65)
    if bits.bits(2):  # HRD parameters, which are not parsed here
        return None
    if bits.bits(2) & 1 == 0:
        return None
    bits.bits(1)
    bits.numbers(4)
    return bits.number() > 0


class _Bits:
    def __init__(self, data: bytes) -> None:
        self._text = "".join(f"{byte:08b}" for byte in data)
        self._at = 0

    def bits(self, count: int) -> int:
        """Read an unsigned number of ``count`` bits."""
        self._at += count
        if self._at > len(self._text):
            raise IndexError
        return int(self._text[self._at - count : self._at], 2)

    def number(self) -> int:
        """Read an unsigned number in Exp-Golomb code."""
        zeros = 0
        while not self.bits(1):
            zeros += 1
        return (1 << zeros) - 1 + (self.bits(zeros) if zeros else 0)

    def numbers(self, count: int) -> None:
        """Skip ``count`` numbers in Exp-Golomb code."""
        for _ in range(count):
            self.number()
