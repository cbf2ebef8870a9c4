"""Identify the content of compressed packets from their first bytes, without decoding.

Exact and cheap random access needs three facts about a packet: whether it yields a frame, whether it is a random access
point, and whether other packets reference it. Containers flag keyframes, but in H.264 the flag is also set on frames
after which older frames are still referenced. Therefore the NAL units themselves are inspected (``nal_units``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from adamae.data.decoding.byte_ranges import LoadedFile
from adamae.data.decoding.nal_units import (
    BROKEN,
    NAL_CODECS,
    PICTURE,
    RANDOM_ACCESS,
    REFERENCE,
    marked_units,
    sized_units,
)


class PacketContent(NamedTuple):
    """Content of one packet.

    Attributes:
        shown: Whether it yields one frame to show (False for a hidden reference).
        random_access: Whether it is a random access point: no frame shown after its own references anything before it.
        is_reference: Whether other packets may reference it. If False, they decode to the same frames without it.
    """

    shown: bool
    random_access: bool
    is_reference: bool = True


# Bytes of packets and their keyframe flags -> the content of each, or None if it cannot be identified.
Inspector = Callable[[Sequence[memoryview], Sequence[bool]], list[PacketContent | None]]


def inspector(codec: str, extradata: bytes | None) -> Inspector | None:
    """Return the function that inspects a codec's packets, or None for codecs that are not supported.

    Args:
        codec: FFmpeg's canonical name of the codec.
        extradata: The stream's header, which determines how H.264 and HEVC units are delimited.
    """
    if codec in NAL_CODECS:
        return partial(_nal_units, codec, extradata or b"")
    one = _INSPECTORS.get(codec)
    return one and partial(_one_by_one, one)


def _one_by_one(
    inspect: Callable[[memoryview, bool], PacketContent | None], packets: Sequence[memoryview], keys: Sequence[bool]
) -> list[PacketContent | None]:
    return list(map(inspect, packets, keys))


def _nal_units(
    codec: str, extradata: bytes, packets: Sequence[memoryview], keys: Sequence[bool]
) -> list[PacketContent | None]:
    layout = NAL_CODECS[codec]
    width = layout.width(extradata)
    if not width:
        return [_CONTENTS[marked_units(bytes(packet), layout)] for packet in packets]
    sizes = np.array([len(packet) for packet in packets], np.int64)
    found = sized_units(LoadedFile(b"".join(packets)), np.cumsum(sizes) - sizes, sizes, layout, width)
    return [_CONTENTS[units] for units in found.tolist()]


# Content of a packet, indexed by the bits of all its units.
_CONTENTS = [
    PacketContent(True, bool(units & RANDOM_ACCESS), bool(units & REFERENCE))
    if units & PICTURE and not units & BROKEN
    else None
    for units in range(32)
]


def _vp8(data: memoryview, key: bool) -> PacketContent | None:
    return PacketContent(shown=bool(data[0] & 0x10), random_access=key)


def _vp9(data: memoryview, key: bool) -> PacketContent | None:
    if data[0] & 0xF0 not in (0x80, 0xA0, 0x90):  # profile 3 moves the bits below
        return None
    superframe = data[-1] & 0xE0 == 0xC0
    return PacketContent(shown=superframe or bool(data[0] & 0x0A), random_access=key)


def _mpeg4(data: memoryview, key: bool) -> PacketContent | None:
    # A packet this small may be a "not coded" placeholder, which yields no frame.
    if len(data) < 32:
        return None
    # Start code and two bits of the frame type: a packet that begins with a B-frame, which is never referenced.
    return PacketContent(shown=True, random_access=key, is_reference=key or data[:4] != _VOP or data[4] >> 6 != 2)


def _plain(data: memoryview, key: bool) -> PacketContent | None:
    return PacketContent(shown=True, random_access=key)


_VOP = b"\0\0\1\xb6"
_INSPECTORS: dict[str, Callable[[memoryview, bool], PacketContent | None]] = {
    "vp8": _vp8,
    "vp9": _vp9,
    "mpeg4": _mpeg4,
    "av1": _plain,
    "mjpeg": _plain,
}
