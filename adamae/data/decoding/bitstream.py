"""What a compressed packet says about itself, read from its first bytes without decoding.

Three facts make random access exact and cheap: whether a packet shows a frame, whether decoding may start afresh at
it, and whether other packets need it. Containers flag key frames, but in H.264 the flag also stands on pictures after
which older ones are still referred to, so the coded units themselves are looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple


class PacketContent(NamedTuple):
    """What one packet holds.

    Attributes:
        shown: It gives one frame to show (False: a hidden reference).
        fresh: No frame shown after its own refers to anything before it.
        referred: Other packets may need it. Without it they decode to the same frames where it is False.
    """

    shown: bool
    fresh: bool
    referred: bool = True


# A packet's bytes and its key flag -> its content, or None where nothing can be promised.
Inspector = Callable[[memoryview, bool], PacketContent | None]


def inspector(codec: str, extradata: bytes | None) -> Inspector | None:
    """The function that reads a codec's packets, or None for codecs about which nothing is promised.

    Args:
        codec: FFmpeg's canonical name of the codec.
        extradata: The stream's header, which tells how H.264 and HEVC units are delimited.
    """
    if codec in _NAL_CODECS:
        return _NalInspector(codec, extradata or b"")
    return _INSPECTORS.get(codec)


def _vp8(data: memoryview, key: bool) -> PacketContent | None:
    return PacketContent(shown=bool(data[0] & 0x10), fresh=key)


def _vp9(data: memoryview, key: bool) -> PacketContent | None:
    if data[0] & 0xF0 not in (0x80, 0xA0, 0x90):  # profile 3 moves the bits below
        return None
    superframe = data[-1] & 0xE0 == 0xC0
    return PacketContent(shown=superframe or bool(data[0] & 0x0A), fresh=key)


def _mpeg4(data: memoryview, key: bool) -> PacketContent | None:
    # A packet this small may be a "not coded" placeholder, which gives no frame.
    if len(data) < 32:
        return None
    # A packet that begins with a B picture: its start code, and two bits for its kind. Nothing refers to those.
    return PacketContent(shown=True, fresh=key, referred=key or data[:4] != _VOP or data[4] >> 6 != 2)


def _plain(data: memoryview, key: bool) -> PacketContent | None:
    return PacketContent(shown=True, fresh=key)


_VOP = b"\0\0\1\xb6"
_INSPECTORS: dict[str, Inspector] = {"vp8": _vp8, "vp9": _vp9, "mpeg4": _mpeg4, "av1": _plain, "mjpeg": _plain}


@dataclass(frozen=True)
class _NalCodec:
    size_at: int  # byte of the stream header that holds the width of unit sizes
    shift: int  # position of the unit's type in its first byte
    mask: int
    pictures: frozenset[int]
    fresh: frozenset[int]
    referred: int  # bits of the first byte that are all zero where nothing refers to the picture; 0 for no such bits


_NAL_CODECS = {
    # IDR alone: other intra pictures let later ones refer past them.
    "h264": _NalCodec(4, 0, 0x1F, frozenset({1, 2, 5}), frozenset({5}), 0x60),
    # Every random access picture: those that follow it in both orders may not refer past it. Whether a picture is
    # referred to depends on the layers that there are, so all count as such.
    "hevc": _NalCodec(21, 1, 0x3F, frozenset(range(22)), frozenset(range(16, 22)), 0),
}


class _NalInspector:
    def __init__(self, codec: str, extradata: bytes) -> None:
        self._codec = _NAL_CODECS[codec]
        sized = len(extradata) > self._codec.size_at and extradata[0] == 1
        self._size_bytes = (extradata[self._codec.size_at] & 3) + 1 if sized else 0

    def __call__(self, data: memoryview, key: bool) -> PacketContent | None:
        heads = self._sized_units(data) if self._size_bytes else _marked_units(data)
        if heads is None:
            return None
        codec = self._codec
        shown = fresh = False
        referred = not codec.referred
        for head in heads:
            kind = head >> codec.shift & codec.mask
            if kind in codec.pictures:
                shown = True
                fresh |= kind in codec.fresh
                referred |= bool(head & codec.referred)
        return PacketContent(True, fresh, referred) if shown else None

    def _sized_units(self, data: memoryview) -> list[int] | None:
        """First bytes of the units, or None where their sizes do not add up: the packet is damaged."""
        heads, at, width = [], 0, self._size_bytes
        while at + width < len(data):
            heads.append(data[at + width])
            at += width + int.from_bytes(data[at : at + width], "big")
        return heads if at == len(data) else None


def _marked_units(data: memoryview) -> list[int]:
    """First bytes of units that start codes set apart."""
    raw, heads = bytes(data), []
    at = raw.find(b"\0\0\1")
    while 0 <= at < len(raw) - 3:
        heads.append(raw[at + 3])
        at = raw.find(b"\0\0\1", at + 3)
    return heads
