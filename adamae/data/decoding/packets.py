"""The packets of a video, their metadata and their decoder.

There are two sources of packets. For a plain MP4 file with H.264, the file's tables contain the offsets and
presentation times (``mp4``), and the first bytes of each packet identify its content (``nal_units``). All other files
are read by FFmpeg, once and completely. Packets of large files are not kept in memory: they are read again when they
are needed, by their offset or by seeking with FFmpeg.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import repeat
from typing import NamedTuple, Protocol

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import ColorRange

from adamae.data.decoding.bitstream import Inspector, inspector
from adamae.data.decoding.byte_ranges import ByteRanges, LoadedFile, OpenFile, is_kept
from adamae.data.decoding.demuxer import Demuxer
from adamae.data.decoding.frame_table import FrameTable, TimedPacket
from adamae.data.decoding.h264 import UNIT_WIDTH, reorders
from adamae.data.decoding.mp4 import Mp4Video, begins_mp4, read_plain_mp4
from adamae.data.decoding.nal_units import BROKEN, NAL_CODECS, OTHER, PICTURE, RANDOM_ACCESS, REFERENCE, sized_units
from adamae.data.decoding.protocol import VideoSource

# Size of the batches of packets that are inspected together.
_INSPECTED_BYTES = 4 * 2**20
# Codecs whose presentation times only the container stores; for others FFmpeg computes missing times.
_REORDERED = ("h264", "hevc")
_PROGRESSIVE = (0, 1)  # unknown and progressive, of FFmpeg's AVFieldOrder: a packet must not be a single field


class Packets(Protocol):
    """The packets of one video.

    Attributes:
        decoder: Decoder with one thread.
        fps: Average frames per second, 0 if the file does not store it.
        base: Time base of the packets, in seconds.
        table: Table of all frames, or None if they are only known after decoding.
    """

    decoder: VideoCodecContext
    fps: float
    base: Fraction
    table: FrameTable | None

    def take(self, numbers: Sequence[int] | None) -> Iterator[av.Packet]:
        """Iterate over packets by ascending numbers in decoding order; over all packets for None.

        Raises:
            DecodeError: The file can no longer be read.
        """

    def close(self) -> None:
        """Close the file."""


def plain_packets(source: VideoSource) -> PlainPackets | None:
    """Return the packets of a plain MP4 file; None if it is not plain or does not determine its frames."""
    file: ByteRanges | None = None
    packets: PlainPackets | None = None
    try:
        file = _open_mp4(source)
        packets = _plain_packets(file) if file is not None else None
    except (av.FFmpegError, OSError):
        pass  # FFmpeg will report it
    finally:
        if file is not None and packets is None:
            file.close()
    return packets


def _open_mp4(source: VideoSource) -> ByteRanges | None:
    """Open a file if it may be MP4, else return None."""
    if not isinstance(source, str):
        return LoadedFile(source.data) if begins_mp4(source.data[:8]) else None
    file = io.FileIO(source)
    if not begins_mp4(file.read(8)):
        file.close()
        return None
    ranges = OpenFile(file)
    if not is_kept(ranges.size):
        return ranges
    with file:
        file.seek(0)
        return LoadedFile(file.readall())


def _plain_packets(file: ByteRanges) -> PlainPackets | None:
    video = read_plain_mp4(file)
    promised = video and reorders(video.header)
    if video is None or promised is None:
        return None
    units = sized_units(file, video.starts, video.sizes, NAL_CODECS["h264"], UNIT_WIDTH)
    if (units & (PICTURE | OTHER | BROKEN) != PICTURE).any():
        return None
    random_access, is_reference = (units & RANDOM_ACCESS > 0).tolist(), (units & REFERENCE > 0).tolist()
    table = FrameTable.of(list(map(TimedPacket, video.times.tolist(), repeat(True), random_access, is_reference)))
    # If the header disagrees with the order of the times, they may be decoding times: FFmpeg has to decode the frames.
    if table is None or promised != bool((np.diff(video.times) < 0).any()):
        return None
    return PlainPackets(file, video, table, _decoder_of(video))


def _decoder_of(video: Mp4Video) -> VideoCodecContext:
    decoder = VideoCodecContext.create("h264", "r")
    decoder.thread_count = 1
    decoder.extradata = video.header
    if video.colour:
        decoder.color_primaries, decoder.color_trc, decoder.colorspace = video.colour[:3]
        decoder.color_range = ColorRange.JPEG if video.colour.full_range else ColorRange.MPEG
    decoder.open()
    return decoder


class PlainPackets:
    """Packets that are read from a file by their offsets when they are needed.

    Args:
        file: The file.
        video: The file's tables.
        table: Table of all frames.
        decoder: Decoder of the packets.
    """

    def __init__(self, file: ByteRanges, video: Mp4Video, table: FrameTable, decoder: VideoCodecContext) -> None:
        self._file = file
        self._video = video
        self.table: FrameTable | None = table
        self.decoder = decoder
        self.fps = video.fps
        self.base = Fraction(1, video.scale)

    def take(self, numbers: Sequence[int] | None) -> Iterator[av.Packet]:
        """See :class:`Packets`. Ends at a read error; a caller that misses packets reads the file again."""
        chosen = slice(None) if numbers is None else list(numbers)
        video = self._video
        columns = (column[chosen].tolist() for column in (video.starts, video.sizes, video.times))
        for start, size, time in zip(*columns, strict=True):
            # Decoders read a little past the end; a packet that owns its bytes has zeros there.
            packet = av.Packet(size)
            try:
                packet.update(self._file.read(start, size))
            except OSError:
                return
            packet.pts = time
            yield packet

    def close(self) -> None:
        """See :class:`Packets`."""
        self._file.close()


class DemuxedPackets:
    """Packets that are read by FFmpeg.

    Args:
        source: A video file, or the bytes of one.

    Raises:
        DecodeError: The file is missing, empty, truncated, not a video, or cannot be read.
    """

    def __init__(self, source: VideoSource) -> None:
        self._source = source
        self._kept: list[av.Packet] | None = []
        # If packets are not kept: identity of each, and its presentation and decoding time as far as known.
        self._marks: list[_Mark] = []
        self._times: list[tuple[int, ...]] = []
        self._seeks = True
        self._demuxer = Demuxer(source)
        stream = self._demuxer.stream
        self.decoder = stream.codec_context
        try:
            self.fps = float(stream.average_rate or stream.guessed_rate or 0)
            self.base = Fraction(stream.time_base or Fraction(1, 90_000))
            self.table = self._survey()
        except BaseException:
            self.close()
            raise

    def take(self, numbers: Sequence[int] | None) -> Iterator[av.Packet]:
        """See :class:`Packets`."""
        if self._kept is not None:
            yield from self._kept if numbers is None else (self._kept[number] for number in numbers)
        elif numbers is None:
            yield from self._again()
        elif numbers:
            yield from self._take_again(numbers)

    def _take_again(self, numbers: Sequence[int]) -> Iterator[av.Packet]:
        chosen, last = set(numbers), numbers[-1]
        coming = numbers[0]
        for packet in self._sought(coming) if self._seeks else ():
            if coming in chosen:
                yield packet
            coming += 1
            if coming > last:
                return
        # The packets after seeking are not those found when reading in sequence.
        self._seeks = False
        for number, packet in enumerate(self._again()):
            if number >= coming and number in chosen:
                yield packet
            if number == last:
                return

    def _sought(self, number: int) -> Iterator[av.Packet]:
        """Seek to a packet and yield packets from it on, as long as they equal those read in sequence.

        In containers without an index FFmpeg may land anywhere, and some yield different packets after seeking.
        """
        # Some containers seek by presentation time, others by decoding time, which is earlier.
        for time in self._times[number]:
            begun = False
            for packet in self._demuxer.packets_from(time):
                if _mark(packet) == self._marks[number]:
                    begun = True
                    yield packet
                    number += 1
                    if number == len(self._marks):
                        return
                elif begun or (packet.dts is not None and packet.dts > time):
                    break
            if begun:
                return

    def _again(self) -> Iterator[av.Packet]:
        """Read all packets again from the start; the decoder stays the same."""
        demuxer = Demuxer(self._source)
        try:
            yield from demuxer.packets()
        finally:
            demuxer.close()

    def close(self) -> None:
        """See :class:`Packets`."""
        self._kept = None
        self._demuxer.close()

    def _survey(self) -> FrameTable | None:
        """Read all packets and return the table of frames; None if frames are only known after decoding."""
        progressive = self.decoder.field_order in _PROGRESSIVE
        codec = self.decoder.codec.canonical_name
        inspect = inspector(codec, self.decoder.extradata) if progressive else None
        facts: list[TimedPacket | None] = []
        kept_bytes = 0
        for packets in _in_batches(self._demuxer.packets()):
            facts += _facts(packets, inspect)
            kept_bytes += sum(packet.size for packet in packets)
            if self._kept is not None:
                self._kept += packets
                if is_kept(kept_bytes):
                    continue
            for packet in self._kept or packets:
                self._marks.append(_mark(packet))
                self._times.append(tuple(time for time in (packet.pts, packet.dts) if time is not None))
            self._kept = None
        return FrameTable.of(facts, reorders=codec in _REORDERED and bool(self.decoder.has_b_frames))


class _Mark(NamedTuple):
    """Identity of a packet: packets with equal marks decode to the same frames.

    Attributes:
        time: Presentation time of its frame.
        size: Size in bytes.
        checksum: CRC-32 of its bytes.
        key: Whether the container flags it as a keyframe.
        discard: Whether the container flags its frame as not shown.
    """

    time: int | None
    size: int
    checksum: int
    key: bool
    discard: bool


def _mark(packet: av.Packet) -> _Mark:
    checksum = zlib.crc32(memoryview(packet))
    return _Mark(packet.pts, packet.size, checksum, packet.is_keyframe, packet.is_discard)


def _in_batches(packets: Iterator[av.Packet]) -> Iterator[list[av.Packet]]:
    batch: list[av.Packet] = []
    size = 0
    for packet in packets:
        batch.append(packet)
        size += packet.size
        if size > _INSPECTED_BYTES:
            yield batch
            batch, size = [], 0
    yield batch


def _facts(packets: list[av.Packet], inspect: Inspector | None) -> list[TimedPacket | None]:
    if inspect is None:
        return [None] * len(packets)
    contents = inspect([memoryview(packet) for packet in packets], [packet.is_keyframe for packet in packets])
    return [
        None
        if content is None or packet.pts is None or packet.is_corrupt
        else TimedPacket(
            packet.pts, content.shown and not packet.is_discard, content.random_access, content.is_reference
        )
        for packet, content in zip(packets, contents, strict=True)
    ]
