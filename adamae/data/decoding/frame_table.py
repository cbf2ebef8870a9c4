"""The times of a video's frames and what has to be decoded for some of them, worked out from its packets alone."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import NamedTuple


class TimedPacket(NamedTuple):
    """What is known about one packet, in the order of decoding.

    Attributes:
        time: When its frame is shown, in the stream's units.
        shown: It gives one frame (False: a hidden reference, or cut off by an edit list).
        fresh: No frame shown after its own refers to anything before it.
        referred: Other packets may need it.
    """

    time: int
    shown: bool
    fresh: bool
    referred: bool = True


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
class Run:
    """Packets that are decoded without a break.

    Attributes:
        packets: Their numbers, in the order of decoding.
        frames: The frames that they give, in the order of showing, up to the last one that is wanted.
    """

    packets: list[int]
    frames: list[int]


@dataclass(frozen=True)
class FrameTable:
    """All frames in the order of showing.

    Attributes:
        times: Their times, rising.
        entries: Where decoding may start, by rising frame, the first at frame 0.
        packets: What is known of every packet, in the order of decoding.
        tells_order: Times are those of showing beyond doubt. Some containers give pictures that are shown in another
            order the times at which they are decoded; only all of them together then give that away.
    """

    times: list[int]
    entries: list[Entry]
    packets: list[TimedPacket]
    tells_order: bool = True

    @classmethod
    def of(cls, packets: Sequence[TimedPacket | None], *, reorders: bool = False) -> FrameTable | None:
        """The table, or None where the packets do not prove one.

        Args:
            packets: All packets of the stream, None for one about which nothing is known.
            reorders: The decoder expects pictures in another order than that of showing.
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
        told = any(later.time < packet.time for packet, later in pairwise(known))
        return cls(times, [entries[frame] for frame in sorted(entries)], known, told or not reorders)

    def entry_for(self, frame: int) -> Entry:
        """The entry nearest before ``frame``, or at it."""
        return self.entries[bisect_right(self.entries, frame, key=lambda entry: entry.frame) - 1]

    def runs(self, wanted: Sequence[int]) -> Iterator[Run]:
        """What has to be decoded for some frames: from each entry to the last packet that one of them needs.

        Left out is what no wanted frame needs: pictures to which nothing refers, and those that are shown before
        the entry and decoded after it, which may lack what they refer to. Where times may not be those of showing, only
        the latter are, and a run goes to the end of the file: its frames come out one after the other.

        Args:
            wanted: Frame numbers, rising.
        """
        for entry, frames in groupby(wanted, self.entry_for):
            missing = {self.times[frame] for frame in frames}
            last = max(missing)
            numbers = []
            for number in range(entry.packet, len(self.packets)):
                packet = self.packets[number]
                is_wanted = packet.shown and packet.time in missing
                may_be_needed = packet.referred or not self.tells_order
                if is_wanted or not packet.shown or (may_be_needed and packet.time >= entry.time):
                    numbers.append(number)
                if is_wanted:
                    missing.remove(packet.time)
                    if not missing and self.tells_order:
                        break
            given = sorted(self.packets[number].time for number in numbers if self.packets[number].shown)
            yield Run(numbers, [bisect_left(self.times, time) for time in given if time <= last])
