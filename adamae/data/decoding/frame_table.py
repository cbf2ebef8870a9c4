"""The times of a video's frames and the places where decoding may start, worked out from its packets alone."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class TimedPacket:
    """What is known about one packet, in the order of decoding.

    Attributes:
        time: When its frame is shown, in the stream's units.
        shown: It gives one frame (False: a hidden reference, or cut off by an edit list).
        fresh: No frame shown after its own refers to anything before it.
    """

    time: int
    shown: bool
    fresh: bool


@dataclass(frozen=True)
class Entry:
    """A packet at which decoding may start.

    Attributes:
        packet: Its number in the order of decoding.
        time: Decoded frames with earlier times may be wrong.
        frame: The first frame that is right.
    """

    packet: int
    time: int
    frame: int


@dataclass(frozen=True)
class FrameTable:
    """All frames in the order of showing.

    Attributes:
        times: Their times, rising.
        entries: Where decoding may start, by rising frame, the first at frame 0.
    """

    times: list[int]
    entries: list[Entry]

    @classmethod
    def of(cls, packets: Sequence[TimedPacket | None]) -> FrameTable | None:
        """The table, or None where the packets do not prove one.

        Args:
            packets: All packets of the stream, None for one about which nothing is known.
        """
        known = [packet for packet in packets if packet is not None]
        times = sorted(packet.time for packet in known if packet.shown)
        if not times or len(known) < len(packets) or any(a == b for a, b in pairwise(times)):
            return None
        # What is shown before the first fresh packet depends on pictures that the file does not hold.
        if not known[0].fresh or known[0].time > min(packet.time for packet in known):
            return None
        # Of several entries that lead to the same frame, the last is the nearest.
        entries = {}
        for number, packet in enumerate(known):
            if packet.fresh:
                frame = bisect_left(times, packet.time)
                entries[frame] = Entry(number, packet.time, frame)
        return cls(times, [entries[frame] for frame in sorted(entries)])

    def entry_for(self, frame: int) -> Entry:
        """The entry nearest before ``frame``, or at it."""
        return self.entries[bisect_right(self.entries, frame, key=lambda entry: entry.frame) - 1]
