"""A video's packets and what is known of them, with the decoder that they are for.

Two ways lead to them. A plain MP4 file with H.264 says itself where they lie and when they are shown (``mp4``), and
their first bytes say what they hold (``h264``). All other files are read by FFmpeg, once and to the end.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import repeat
from pathlib import Path
from typing import Protocol

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import ColorRange

from adamae.data.decoding.bitstream import Inspector, inspector
from adamae.data.decoding.damage import check_file
from adamae.data.decoding.frame_table import FrameTable, TimedPacket
from adamae.data.decoding.h264 import read_pictures, reorders
from adamae.data.decoding.mp4 import Mp4Video, begins_mp4, read_plain_mp4
from adamae.data.decoding.protocol import DecodeError, VideoSource, name_of

# Larger files are read again for each pass instead of being kept.
KEPT_BYTES = 128 * 2**20
# Of these the container alone says when a picture is shown; FFmpeg works it out where others have no times.
_REORDERED = ("h264", "hevc")
_PROGRESSIVE = (0, 1)  # unknown and progressive, of FFmpeg's AVFieldOrder: one packet may not be half a frame


class Packets(Protocol):
    """The packets of one video.

    Attributes:
        decoder: Decodes them in one thread.
        fps: Frames per second on the average, 0 where the file does not tell.
        base: Seconds of a unit of the packets' times.
        table: All frames, or None where only decoding can tell.
    """

    decoder: VideoCodecContext
    fps: float
    base: Fraction
    table: FrameTable | None

    def take(self, numbers: Sequence[int] | None) -> Iterator[av.Packet]:
        """Packets by their numbers in the order of decoding, which rise; all of them for None."""

    def close(self) -> None:
        """Give the file back."""


def plain_packets(source: VideoSource) -> PlainPackets | None:
    """Those of a plain MP4 file, or None where it is not plain or leaves a doubt."""
    data = _whole_mp4(source)
    video = read_plain_mp4(data)
    promised = video and reorders(video.header)
    if video is None or promised is None:
        return None
    pictures = read_pictures(data, video.starts, video.sizes)
    if pictures is None:
        return None
    table = FrameTable.of(
        list(map(TimedPacket, video.times.tolist(), repeat(True), pictures.fresh.tolist(), pictures.referred.tolist()))
    )
    # Times of another order than the header promises may be those of decoding: FFmpeg has to look at the pictures.
    if table is None or promised != bool((np.diff(video.times) < 0).any()):
        return None
    try:
        return PlainPackets(data, video, table, _decoder_of(video))
    except av.FFmpegError:
        return None


def _whole_mp4(source: VideoSource) -> bytes:
    """A file's bytes; none where it is no MP4 file, too large or gone."""
    if not isinstance(source, str):
        return source.data
    try:
        with Path(source).open("rb", buffering=0) as file:
            if not begins_mp4(file.read(8)) or os.fstat(file.fileno()).st_size > KEPT_BYTES:
                return b""
            file.seek(0)
            return file.readall()
    except OSError:
        return b""


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
    """Packets that are cut out of a file's bytes when they are wanted.

    Args:
        data: The file.
        video: Its tables.
        table: All frames.
        decoder: Decodes them.
    """

    def __init__(self, data: bytes, video: Mp4Video, table: FrameTable, decoder: VideoCodecContext) -> None:
        self._data = memoryview(data)
        self._video = video
        self.table: FrameTable | None = table
        self.decoder = decoder
        self.fps = video.fps
        self.base = Fraction(1, video.scale)

    def take(self, numbers: Sequence[int] | None) -> Iterator[av.Packet]:
        """See :class:`Packets`."""
        chosen = slice(None) if numbers is None else list(numbers)
        video = self._video
        columns = (column[chosen].tolist() for column in (video.starts, video.sizes, video.times))
        for start, size, time in zip(*columns, strict=True):
            # Decoders read a little past the end; a packet that owns its bytes has zeros there.
            packet = av.Packet(size)
            packet.update(self._data[start : start + size])
            packet.pts = time
            yield packet

    def close(self) -> None:
        """See :class:`Packets`."""
        self._data = memoryview(b"")


class DemuxedPackets:
    """Packets that FFmpeg reads.

    Args:
        source: A video file, or the bytes of one.

    Raises:
        DecodeError: Missing, empty, or not a video.
    """

    def __init__(self, source: VideoSource) -> None:
        check_file(source)
        self._source = source
        self._kept: list[av.Packet] | None = []
        self._open()
        try:
            self.fps = float(self._stream.average_rate or self._stream.guessed_rate or 0)
            self.base = Fraction(self._stream.time_base or Fraction(1, 90_000))
            self.table = self._survey()
        except BaseException:
            self.close()
            raise

    def take(self, numbers: Sequence[int] | None) -> Iterator[av.Packet]:
        """See :class:`Packets`."""
        if self._kept is not None:
            yield from self._kept if numbers is None else (self._kept[number] for number in numbers)
            return
        self._container.close()
        self._open()
        if numbers is None:
            yield from self._demuxed()
            return
        chosen = set(numbers)
        yield from (packet for number, packet in enumerate(self._demuxed()) if number in chosen)

    def close(self) -> None:
        """See :class:`Packets`."""
        self._kept = None
        self._container.close()

    def _open(self) -> None:
        path = name_of(self._source)
        try:
            file = self._source if isinstance(self._source, str) else io.BytesIO(self._source.data)
            self._container = av.open(file, metadata_errors="ignore")
        except (av.FFmpegError, OSError, ValueError) as error:
            raise DecodeError(path, f"not a readable video ({getattr(error, 'strerror', error)})") from None
        stream = self._container.streams.best("video")
        if stream is None or stream.codec_context is None:
            self._container.close()
            raise DecodeError(path, "holds no video that can be decoded")
        self._stream = stream
        self.decoder = stream.codec_context
        self.decoder.thread_count = 1

    def _survey(self) -> FrameTable | None:
        """Read all packets; the table of frames, or None where only decoding can tell."""
        progressive = self.decoder.field_order in _PROGRESSIVE
        codec = self.decoder.codec.canonical_name
        inspect = inspector(codec, self.decoder.extradata) if progressive else None
        facts = []
        kept_bytes = 0
        for packet in self._demuxed():
            facts.append(_facts(packet, inspect))
            kept_bytes += packet.size
            if kept_bytes > KEPT_BYTES:
                self._kept = None
            if self._kept is not None:
                self._kept.append(packet)
        return FrameTable.of(facts, reorders=codec in _REORDERED and bool(self.decoder.has_b_frames))

    def _demuxed(self) -> Iterator[av.Packet]:
        """All packets that hold data. A file that breaks off ends where it breaks."""
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except (av.FFmpegError, OSError):
                return
            if packet is None:
                return
            if packet.size:
                yield packet


def _facts(packet: av.Packet, inspect: Inspector | None) -> TimedPacket | None:
    if inspect is None or packet.pts is None or packet.is_corrupt:
        return None
    content = inspect(memoryview(packet), packet.is_keyframe)
    if content is None:
        return None
    return TimedPacket(packet.pts, content.shown and not packet.is_discard, content.fresh, content.referred)
