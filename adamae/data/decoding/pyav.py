"""PyAV back end: frame-exact; seeks only if the result is provably the same as decoding from the start.

If the content of every packet can be identified, the frames' times are known without decoding (see ``packets``).
Decoding then starts at the last random access point before a requested frame, ends with the last requested frame, and
skips frames that no other frame references. Each decoded frame's time is compared with the expected one. At the first
mismatch, and for all other files, frames are counted by decoding the file in sequence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cached_property

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from adamae.data.decoding.damage import check_loss
from adamae.data.decoding.frame_table import DecodeSpan, FrameTable
from adamae.data.decoding.frame_times import Clock, frame_times
from adamae.data.decoding.packets import DemuxedPackets, Packets, plain_packets
from adamae.data.decoding.protocol import (
    DecodeError,
    VideoSource,
    name_of,
    read_frames,
    unique_sorted,
)


class _UnprovenError(Exception):
    """The decoder returned other frames than the frame table contains."""


def open_video(source: VideoSource, *, num_frames: int | None = None) -> PyAVReader:
    """Open a file, or the bytes of one (see ``protocol.VideoReader``).

    Args:
        source: The file.
        num_frames: Number of frames that can be decoded, if known. A frame table from the packets takes precedence.

    Raises:
        DecodeError: The file is missing, empty, not a video, or has no frames.
    """
    reader = PyAVReader(source, num_frames=num_frames)
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
        num_frames: See :func:`open_video`.
    """

    def __init__(self, source: VideoSource, *, num_frames: int | None = None) -> None:
        self._source = source
        self._known = num_frames
        self._path = name_of(source)
        self._packets: Packets = plain_packets(source) or DemuxedPackets(source)
        self._table = self._packets.table
        self.fps = self._packets.fps
        self.damaged = 0

    @cached_property
    def num_frames(self) -> int:
        """Number of frames that can be decoded."""
        return len(self._table.times) if self._table else self._known or self._count()

    def _count(self) -> int:
        count = len(self._ticks)
        if count:
            check_loss(self._path, count, self.damaged)
        return count

    @cached_property
    def times(self) -> np.ndarray:
        """See ``protocol.VideoReader.times``."""
        base = self._packets.base
        ticks = np.array(self._table.times if self._table else self._ticks[: self.num_frames], np.int64)
        # If num_frames is larger than the number of decoded frames, the last frame is repeated.
        after = np.arange(1, self.num_frames - len(ticks) + 1) * self._clock().step
        ticks = np.concatenate([ticks, ticks[-1] + after])
        seconds = (ticks - ticks[0]) * base.numerator / base.denominator
        return frame_times(seconds, self.fps, unit=float(base))

    @cached_property
    def _ticks(self) -> list[int]:
        """Presentation times of all frames that can be decoded, in units of the packets' time base."""
        clock = self._clock()
        told, made = [], []
        for frame in self._in_sequence():
            made.append(clock.next(frame))
            told.append(frame.pts)
        # AVI stores decoding times for reordered frames.
        distinct = {time for time in told if time is not None}
        return sorted(distinct) if len(distinct) == len(told) else made

    def _clock(self) -> Clock:
        return Clock(self._packets.base, Fraction(self.fps or 25))

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """See ``protocol.VideoReader.read``."""
        return read_frames(self, indices)

    def frames(self, wanted: Sequence[int]) -> Iterator[tuple[int, _UprightFrame]]:
        """See ``protocol.VideoReader.frames``."""
        numbers, _ = unique_sorted(wanted, self.num_frames)
        upright = _UprightFrame(self._path)
        for row, frame in self._wanted(numbers):
            upright.hold(frame)
            yield row, upright

    def _wanted(self, numbers: list[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        if self._table:
            try:
                yield from self._proven(self._table, numbers)
            except _UnprovenError:
                self._doubt()
            else:
                return
        yield from self._from_the_start(numbers)

    def close(self) -> None:
        """Close the file."""
        self._packets.close()

    def __enter__(self) -> PyAVReader:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _doubt(self) -> None:
        """Stop using the frame table: from now on, decode all frames in sequence with FFmpeg."""
        self._table = None
        if not isinstance(self._packets, DemuxedPackets):
            self._packets.close()
            self._packets = DemuxedPackets(self._source)

    def _decoded(self, numbers: Sequence[int] | None = None) -> Iterator[list[av.VideoFrame] | None]:
        """Decode packets and flush the decoder; yield the frames of each packet, or None for a damaged one."""
        packets = self._packets.take(numbers)
        packet = next(packets, None)
        self._packets.decoder.flush_buffers()
        while True:
            try:
                yield self._packets.decoder.decode(packet)
            except (av.FFmpegError, OSError):
                yield None
            if packet is None:
                return
            packet = next(packets, None)

    def _in_sequence(self) -> Iterator[av.VideoFrame]:
        """Decode all frames from the start, skipping damaged packets."""
        damaged = 0
        for frames in self._decoded():
            if frames is None:
                damaged += 1
                self.damaged = max(self.damaged, damaged)
            yield from frames or ()

    def _from_the_start(self, wanted: list[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        """Decode in sequence from the start; the last frame is repeated for frames that are missing at the end."""
        frames = self._in_sequence()
        coming = 0
        latest = None
        for row, number in enumerate(wanted):
            while coming <= number and (frame := next(frames, None)) is not None:
                latest, coming = frame, coming + 1
            if coming <= number:
                lost = self.num_frames - coming
                check_loss(self._path, coming, lost)
                self.damaged = max(self.damaged, lost)
            assert latest is not None
            yield row, latest

    def _proven(self, table: FrameTable, wanted: list[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        rows = {number: row for row, number in enumerate(wanted)}
        for span in table.spans(wanted):
            frames = self._frames_of(span)
            for number in span.frames:
                frame = next(frames, None)
                if frame is None or frame.is_corrupt or frame.pts != table.times[number]:
                    raise _UnprovenError
                if number in rows:
                    yield rows[number], frame

    def _frames_of(self, span: DecodeSpan) -> Iterator[av.VideoFrame]:
        for frames in self._decoded(span.packets):
            if frames is None:
                raise _UnprovenError
            yield from frames


class _UprightFrame:
    """A ``protocol.DecodedFrame``; all frames of a video have the size and rotation of the first one.

    Frames are converted one at a time, so that the conversion needs memory for a single frame only.

    Args:
        path: Path of the video, for messages.

    Attributes:
        height: Height in pixels.
        width: Width in pixels.
    """

    def __init__(self, path: str) -> None:
        self.height = self.width = 0
        self._path = path
        self._reformatter = VideoReformatter()
        self._quarter_turns = 0
        self._frame: av.VideoFrame | None = None

    def hold(self, frame: av.VideoFrame) -> None:
        """Set the current frame."""
        if self._frame is None:
            self._quarter_turns = round(frame.rotation / 90) % 4
            turned = self._quarter_turns % 2
            self.height, self.width = (frame.width, frame.height) if turned else (frame.height, frame.width)
        self._frame = frame

    def pixels(self) -> np.ndarray:
        """See ``protocol.DecodedFrame.pixels``."""
        assert self._frame is not None
        # Size before rotation, as stored in the file.
        height, width = (self.width, self.height) if self._quarter_turns % 2 else (self.height, self.width)
        try:
            # By default it starts a thread for each core, in every worker.
            converted = self._reformatter.reformat(self._frame, width, height, "rgb24", threads=1)
        except av.FFmpegError as error:
            raise DecodeError(self._path, f"frames cannot be converted to RGB ({error.strerror})") from None
        plane = converted.planes[0]
        lines = np.frombuffer(memoryview(plane), np.uint8).reshape(height, plane.line_size)
        return np.rot90(lines[:, : 3 * width].reshape(height, width, 3), self._quarter_turns)
