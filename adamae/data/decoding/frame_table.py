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
        random_access: Whether it is a random access point: no frame shown after its own references anything before it.
        is_reference: Whether other packets may reference it.
    """

    time: int
    shown: bool
    random_access: bool
    is_reference: bool = True


@dataclass(frozen=True)
class SeekPoint:
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
class DecodeSpan:
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
        seek_points: Packets at which decoding may start, by ascending frame, the first at frame 0.
        packets: Metadata of every packet, in decoding order.
        tells_order: Whether the times are certainly presentation times. Some containers store decoding times for
            reordered frames, which only the times of all packets together reveal.
    """

    times: list[int]
    seek_points: list[SeekPoint]
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
        if not known[0].random_access or known[0].time > min(packet.time for packet in known):
            return None
        # If several seek points lead to the same frame, the last one needs the fewest packets.
        points = {}
        for number, packet in enumerate(known):
            if packet.random_access:
                frame = bisect_left(times, packet.time)
                points[frame] = SeekPoint(number, packet.time, frame)
        told = any(later.time < packet.time for packet, later in pairwise(known))
        return cls(times, [points[frame] for frame in sorted(points)], known, told or not reorders)

    def seek_point_for(self, frame: int) -> SeekPoint:
        """Return the last seek point at or before ``frame``."""
        return self.seek_points[bisect_right(self.seek_points, frame, key=lambda point: point.frame) - 1]

    def spans(self, wanted: Sequence[int]) -> Iterator[DecodeSpan]:
        """Yield the packets to decode for given frames: from each seek point to the last packet that they need.

        Packets that no requested frame needs are left out: frames that are not referenced, and frames that are shown
        before the seek point and decoded after it, whose references may be missing. If the times may not be
        presentation times, only the latter are left out, and a span extends to the end of the file; its frames come out
        one by one.

        Args:
            wanted: Frame numbers in ascending order.
        """
        for point, frames in groupby(wanted, self.seek_point_for):
            missing = {self.times[frame] for frame in frames}
            last = max(missing)
            numbers = []
            for number in range(point.packet, len(self.packets)):
                packet = self.packets[number]
                is_wanted = packet.shown and packet.time in missing
                may_be_needed = packet.is_reference or not self.tells_order
                if is_wanted or not packet.shown or (may_be_needed and packet.time >= point.time):
                    numbers.append(number)
                if is_wanted:
                    missing.remove(packet.time)
                    if not missing and self.tells_order:
                        break
            given = sorted(self.packets[number].time for number in numbers if self.packets[number].shown)
            yield DecodeSpan(numbers, [bisect_left(self.times, time) for time in given if time <= last])
