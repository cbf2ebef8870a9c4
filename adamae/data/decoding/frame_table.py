"""Compute frame times, and the packets to decode for given frames, from a video's packets without decoding."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import NamedTuple


class TimedPacket(NamedTuple):
    """Metadata of one packet.

    Attributes:
        time: Presentation time of its frame, in the stream's time base.
        shown: Whether it yields one frame (False for a hidden reference, or a frame removed by an edit list).
        fresh: Whether it is a random access point: no frame shown after its own references anything before it.
        referred: Whether other packets may reference it.
    """

    time: int
    shown: bool
    fresh: bool
    referred: bool = True


@dataclass(frozen=True)
class Entry:
    """A packet at which decoding may start (a random access point).

    Attributes:
        packet: Number of the packet in decoding order.
        time: Presentation time of its frame; decoded frames with earlier times may be wrong.
        frame: Number of the first frame that is decoded correctly.
    """

    packet: int
    time: int
    frame: int


@dataclass(frozen=True)
class Run:
    """Packets that are decoded in one go.

    Attributes:
        packets: Numbers of the packets, in decoding order.
        frames: Numbers of the frames that they yield, in presentation order, up to the last requested one.
    """

    packets: list[int]
    frames: list[int]


@dataclass(frozen=True)
class FrameTable:
    """All frames in presentation order.

    Attributes:
        times: Presentation times in ascending order.
        entries: Packets at which decoding may start, by ascending frame, the first at frame 0.
        packets: Metadata of every packet, in decoding order.
        tells_order: Whether the times are certainly presentation times. Some containers store decoding times for
            reordered frames, which only the times of all packets together reveal.
    """

    times: list[int]
    entries: list[Entry]
    packets: list[TimedPacket]
    tells_order: bool = True

    @classmethod
    def of(cls, packets: Sequence[TimedPacket | None], *, reorders: bool = False) -> FrameTable | None:
        """Build the table; None if the packets do not determine it.

        Args:
            packets: All packets of the stream in decoding order, None for a packet without metadata.
            reorders: Whether the decoder expects frames in another order than the presentation order.
        """
        known = [packet for packet in packets if packet is not None]
        times = sorted(packet.time for packet in known if packet.shown)
        if not times or len(known) < len(packets) or any(a == b for a, b in pairwise(times)):
            return None
        # Frames shown before the first random access point reference frames that the file does not contain.
        if not known[0].fresh or known[0].time > min(packet.time for packet in known):
            return None
        # If several entries lead to the same frame, the last one needs the fewest packets.
        entries = {}
        for number, packet in enumerate(known):
            if packet.fresh:
                frame = bisect_left(times, packet.time)
                entries[frame] = Entry(number, packet.time, frame)
        told = any(later.time < packet.time for packet, later in pairwise(known))
        return cls(times, [entries[frame] for frame in sorted(entries)], known, told or not reorders)

    def entry_for(self, frame: int) -> Entry:
        """Return the last entry at or before ``frame``."""
        return self.entries[bisect_right(self.entries, frame, key=lambda entry: entry.frame) - 1]

    def runs(self, wanted: Sequence[int]) -> Iterator[Run]:
        """Yield the packets to decode for given frames: from each entry to the last packet that they need.

        Packets that no requested frame needs are left out: frames that are not referenced, and frames that are shown
        before the entry and decoded after it, whose references may be missing. If the times may not be presentation
        times, only the latter are left out, and a run extends to the end of the file; its frames come out one by one.

        Args:
            wanted: Frame numbers in ascending order.
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
