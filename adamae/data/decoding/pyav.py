"""PyAV back end: exact by construction, seeking where that is provably the same as decoding from the start.

A file's packets are read once, which takes about a millisecond, and kept. If every packet says what it gives
(see ``bitstream``), the frames' times are known without decoding, and decoding starts at the last packet before
a wanted frame that depends on nothing older. Each decoded frame's time is compared with the expected one. At the
first doubt, and for every file that proves nothing, frames are counted by decoding all of them in sequence.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from functools import cached_property

import av
import numpy as np

from adamae.data.decoding.bitstream import Inspector, inspector
from adamae.data.decoding.frame_table import Entry, FrameTable, TimedPacket
from adamae.data.decoding.protocol import DecodeError, VideoSource, check_file, name_of, spread, unique_sorted

# Files with more compressed video than this are read again for each pass instead of being kept.
_KEPT_BYTES = 128 * 2**20
_PROGRESSIVE = (0, 1)  # unknown and progressive, of FFmpeg's AVFieldOrder: one packet may not be half a frame


class _UnprovenError(Exception):
    """What the packets promised did not come out of the decoder."""


def open_video(source: VideoSource) -> PyAVReader:
    """Open a file, or the bytes of one (see ``protocol.VideoReader``).

    Raises:
        DecodeError: Missing, empty, not a video, or without a frame.
    """
    check_file(source)
    reader = PyAVReader(source)
    try:
        if not reader.num_frames:
            raise DecodeError(name_of(source), "no frame could be decoded")
    except BaseException:
        reader.close()
        raise
    return reader


class PyAVReader:
    """One video, decoded by one thread.

    Args:
        source: A video file, or the bytes of one.
    """

    def __init__(self, source: VideoSource) -> None:
        self._source = source
        self._path = name_of(source)
        self._packets: list[av.Packet] | None = []
        self._open()
        try:
            self.fps = float(self._stream.average_rate or self._stream.guessed_rate or 0)
            self._table = self._survey()
        except BaseException:
            self.close()
            raise

    @cached_property
    def num_frames(self) -> int:
        """How many frames can be decoded."""
        return len(self._table.times) if self._table else sum(1 for _ in self._in_sequence())

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """See ``protocol.VideoReader.read``."""
        wanted, rows = unique_sorted(indices, self.num_frames)
        try:
            frames = self._read_proven(self._table, wanted) if self._table else self._read_in_sequence(wanted)
        except _UnprovenError:
            self._table = None
            frames = self._read_in_sequence(wanted)
        except av.FFmpegError as error:
            raise DecodeError(self._path, f"frames cannot be converted to RGB ({error.strerror})") from None
        return spread(frames, rows)

    def close(self) -> None:
        """Give the file back."""
        self._packets = None
        self._container.close()

    def __enter__(self) -> PyAVReader:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _open(self) -> None:
        try:
            file = self._source if isinstance(self._source, str) else io.BytesIO(self._source.data)
            self._container = av.open(file, metadata_errors="ignore")
        except (av.FFmpegError, OSError, ValueError) as error:
            raise DecodeError(self._path, f"not a readable video ({getattr(error, 'strerror', error)})") from None
        stream = self._container.streams.best("video")
        if stream is None or stream.codec_context is None:
            self._container.close()
            raise DecodeError(self._path, "holds no video that can be decoded")
        self._stream = stream
        self._codec = stream.codec_context
        self._codec.thread_count = 1

    def _survey(self) -> FrameTable | None:
        """Read all packets; the table of frames, or None where only decoding can tell."""
        progressive = self._codec.field_order in _PROGRESSIVE
        inspect = inspector(self._codec.codec.canonical_name, self._codec.extradata) if progressive else None
        facts = []
        kept_bytes = 0
        for packet in self._demuxed():
            facts.append(_facts(packet, inspect))
            kept_bytes += packet.size
            if kept_bytes > _KEPT_BYTES:
                self._packets = None
            if self._packets is not None:
                self._packets.append(packet)
        return FrameTable.of(facts)

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

    def _packets_from(self, first: int) -> Iterator[av.Packet]:
        if self._packets is not None:
            yield from self._packets[first:]
            return
        self._container.close()
        self._open()
        for number, packet in enumerate(self._demuxed()):
            if number >= first:
                yield packet

    def _decoded(self, first: int) -> Iterator[list[av.VideoFrame] | None]:
        """What each packet from ``first`` on, and the end, gives: frames, or None for a damaged packet."""
        packets = self._packets_from(first)
        packet = next(packets, None)
        self._codec.flush_buffers()
        while True:
            try:
                yield self._codec.decode(packet)
            except (av.FFmpegError, OSError):
                yield None
            if packet is None:
                return
            packet = next(packets, None)

    def _in_sequence(self) -> Iterator[av.VideoFrame]:
        """All frames that can be decoded; damaged packets are passed over."""
        for frames in self._decoded(0):
            yield from frames or ()

    def _read_in_sequence(self, wanted: list[int]) -> np.ndarray:
        picture = _Picture(len(wanted))
        frames = self._in_sequence()
        coming = 0
        for number in wanted:
            while coming <= number:
                frame = next(frames, None)
                if frame is None:
                    raise DecodeError(self._path, f"damaged: only {coming} of {self.num_frames} frames can be decoded")
                coming += 1
            picture.add(frame)
        return picture.upright()

    def _read_proven(self, table: FrameTable, wanted: list[int]) -> np.ndarray:
        picture = _Picture(len(wanted))
        frames: Iterator[av.VideoFrame] = iter(())
        coming = -1
        for number in wanted:
            entry = table.entry_for(number)
            if coming < 0 or entry.frame > coming:
                frames, coming = self._frames_from(entry), entry.frame
            while coming <= number:
                frame = next(frames, None)
                if frame is None or frame.is_corrupt or frame.pts != table.times[coming]:
                    raise _UnprovenError
                coming += 1
            picture.add(frame)
        return picture.upright()

    def _frames_from(self, entry: Entry) -> Iterator[av.VideoFrame]:
        for frames in self._decoded(entry.packet):
            if frames is None:
                raise _UnprovenError
            # Pictures decoded after the entry and shown before it may lack what they refer to.
            yield from (frame for frame in frames if frame.pts is None or frame.pts >= entry.time)


def _facts(packet: av.Packet, inspect: Inspector | None) -> TimedPacket | None:
    if inspect is None or packet.pts is None or packet.is_corrupt:
        return None
    content = inspect(memoryview(packet), packet.is_keyframe)
    if content is None:
        return None
    return TimedPacket(packet.pts, content.shown and not packet.is_discard, content.fresh)


class _Picture:
    """Collects frames into one array, all at the size of the first."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._filled = 0
        self._frames: np.ndarray | None = None
        self._quarter_turns = 0

    def add(self, frame: av.VideoFrame) -> None:
        if self._frames is None:
            self._frames = np.empty((self._length, frame.height, frame.width, 3), np.uint8)
            self._quarter_turns = round(frame.rotation / 90) % 4
        height, width = self._frames.shape[1:3]
        self._frames[self._filled] = frame.to_ndarray(format="rgb24", width=width, height=height)
        self._filled += 1

    def upright(self) -> np.ndarray:
        """(T, H, W, 3), turned against the clock as the file's display matrix asks."""
        assert self._frames is not None
        return np.ascontiguousarray(np.rot90(self._frames, self._quarter_turns, axes=(1, 2)))
