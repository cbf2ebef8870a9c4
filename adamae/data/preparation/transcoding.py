"""Re-encode a video for fast reading in training: small, upright, with short closed groups of pictures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import av
from av.filter import Graph
from av.video.reformatter import ColorRange

from adamae.data.decoding.damage import check_loss
from adamae.data.decoding.demuxer import Demuxer
from adamae.data.decoding.frame_times import Clock
from adamae.data.decoding.protocol import DecodeError
from adamae.data.h264_encoder import CODEC, encoder_options

_TAGS = ("color_primaries", "color_trc", "colorspace")
# Without accurate_rnd and bitexact, different CPUs round differently. The chroma location of 4:2:0 is H.264's default.
_SCALING = "flags=bicubic+accurate_rnd+bitexact:in_chroma_loc=left:out_chroma_loc=left"
# Filters by counter-clockwise quarter turns.
_TURNS = ((), (("transpose", "cclock"),), (("hflip",), ("vflip",)), (("transpose", "clock"),))


@dataclass(frozen=True)
class Encoding:
    """How videos are encoded; docs/benchmarks/encoding.md has the measurements behind the defaults.

    Attributes:
        short_side: Length of the shorter side in pixels; smaller videos keep their size.
        gop: Frames from one keyframe to the next; no frame references anything outside its group.
        crf: H.264 quality, 0 (best) to 51; below 18 the loss is hardly visible.
        bframes: Number of consecutive B-frames, which are not referenced; a reader skips those that it does not need.
        preset: Preset of the encoder: encoding time against file size.
        tune: "fastdecode" disables arithmetic coding and the deblocking filter, which take half of the decoding time;
            "" keeps them.
    """

    short_side: int = 256
    gop: int = 16
    crf: int = 20
    bframes: int = 3
    preset: str = "veryfast"
    tune: str = "fastdecode"

    def options(self) -> dict[str, str]:
        """Return the encoder's options."""
        options = encoder_options(
            self.crf,
            self.preset,
            keyint=self.gop,
            min_keyint=self.gop,
            scenecut=0,
            open_gop=0,
            bframes=self.bframes,
            # Always bframes B-frames, and none references another one, so that each can be skipped.
            b_adapt=0,
            b_pyramid="none",
        )
        # Do not copy closed captions of the source into the frames' headers.
        options["a53cc"] = "0"
        return options | ({"tune": self.tune} if self.tune else {})


@dataclass(frozen=True)
class Encoded:
    """Result of re-encoding a video.

    Attributes:
        frames: Number of frames, the same as in the source.
        seconds: Duration from the start of the first frame to the end of the last.
        width: Width in pixels.
        height: Height in pixels.
        bytes: Size of the file.
        damaged: Number of packets of the source that could not be decoded and were skipped.
    """

    frames: int
    seconds: float
    width: int
    height: int
    bytes: int
    damaged: int


def transcode(source: str, target: str, temporary: str, encoding: Encoding) -> Encoded:
    """Re-encode a video; ``target`` is written atomically.

    Frames keep their number, order and times. They are stored upright, with even sides and in 8-bit YUV 4:2:0. A sample
    aspect ratio is kept as metadata for players but not applied, as in decoding. The colour matrix and range are kept.
    Audio and other streams are dropped. The same file and encoding give the same bytes on every CPU with the same
    version of the libraries.

    Args:
        source: Path of a video.
        target: Path of the result; its folder is created.
        temporary: Path that is written first, on the same file system; its folder is created.
        encoding: How to encode the video.

    Raises:
        DecodeError: The source is not a video, is truncated, cannot be read, or less than half of it can be decoded.
        UserError: The encoder is missing.
        OSError: The target cannot be written.
    """
    options = encoding.options()
    with _Source(source) as video:
        for path in (target, temporary):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        try:
            with Path(temporary).open("wb") as file:
                encoded = _encode(video, file, encoding.short_side, options)
                check_loss(source, encoded.frames, encoded.damaged)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)  # noqa: PTH105 (the paths are texts)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108
            raise
    return encoded


class _Source:
    """A video that is decoded in sequence by one thread, skipping damaged packets."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.damaged = 0
        self._demuxer = Demuxer(path)
        self.stream = self._demuxer.stream

    def __enter__(self) -> _Source:
        return self

    def __exit__(self, *raised: object) -> None:
        self._demuxer.close()

    @property
    def rate(self) -> Fraction:
        """Frames per second; 25 if the file does not store it."""
        rate = self.stream.average_rate or self.stream.guessed_rate
        return Fraction(rate) if rate and Fraction(1, 100) < rate <= 1000 else Fraction(25)

    @property
    def time_base(self) -> Fraction:
        """Time base of the frames in seconds, limited to what an MP4 file can store."""
        base = self.stream.time_base
        return Fraction(base) if base and base.numerator and base.denominator <= 1_000_000 else Fraction(1, 90_000)

    def frames(self) -> Iterator[av.VideoFrame]:
        """Iterate over all frames that can be decoded, counted as the readers do."""
        for packet in self._packets():
            try:
                frames = self.stream.codec_context.decode(packet)
            except (av.FFmpegError, OSError):
                self.damaged += 1
                continue
            yield from frames

    def _packets(self) -> Iterator[av.Packet | None]:
        """Iterate over all non-empty packets, then None to flush the decoder."""
        breaks_off = yield from self._demuxer.packets()
        self.damaged += breaks_off
        yield None


def _encode(video: _Source, file: BinaryIO, short_side: int, options: dict[str, str]) -> Encoded:
    frames = video.frames()
    first = next(frames, None)
    if first is None:
        raise DecodeError(video.path, "no frame could be decoded")
    shape = _Shape.of(first, short_side)
    filters = _Filters(shape)
    clock = Clock(video.time_base, video.rate)
    count = packets = 0
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream(CODEC, rate=video.rate, options=options)
        stream.width, stream.height = shape.size
        stream.pix_fmt = shape.pixels
        stream.time_base = stream.codec_context.time_base = clock.base
        stream.thread_count = 1
        aspect = video.stream.codec_context.sample_aspect_ratio
        if aspect:
            stream.codec_context.sample_aspect_ratio = 1 / aspect if shape.turns % 2 else aspect
        stream.codec_context.color_range = ColorRange.JPEG if shape.full_range else ColorRange.MPEG
        # RGB frames have no colour matrix.
        for tag in () if first.format.is_rgb else _TAGS:
            setattr(stream.codec_context, tag, getattr(first, tag))
        frame: av.VideoFrame | None = first
        while frame is not None:
            upright = filters.apply(frame)
            upright.pts, upright.time_base = clock.next(frame), clock.base
            count += 1
            packets += _write(container, stream.encode(upright))
            frame = next(frames, None)
        packets += _write(container, stream.encode(None))
    if packets != count:
        raise DecodeError(video.path, f"{count} frames gave {packets} encoded ones")
    seconds = float((clock.last + clock.step) * clock.base)
    return Encoded(count, seconds, *shape.size, bytes=file.tell(), damaged=video.damaged)


def _write(container: av.container.OutputContainer, packets: list[av.Packet]) -> int:
    container.mux(packets)
    return len(packets)


@dataclass(frozen=True)
class _Shape:
    """Conversion of a source's frames to upright frames of the requested size.

    Attributes:
        size: Width and height of the result.
        turns: Counter-clockwise quarter turns.
        full_range: Whether luma ranges from 0 to 255 instead of 16 to 235.
    """

    size: tuple[int, int]
    turns: int
    full_range: bool

    @classmethod
    def of(cls, frame: av.VideoFrame, short_side: int) -> _Shape:
        width, height = frame.width, frame.height
        scale = Fraction(short_side, min(width, height))
        sides = [_even(side * scale) if scale < 1 else max(side // 2 * 2, 2) for side in (width, height)]
        turns = round(frame.rotation / 90) % 4
        full = frame.format.name.startswith("yuvj") or frame.color_range == ColorRange.JPEG
        # Grey and RGB are converted to limited-range YUV.
        full = full and not frame.format.is_rgb and not frame.format.name.startswith("gray")
        return cls((sides[1], sides[0]) if turns % 2 else (sides[0], sides[1]), turns, full)

    @property
    def pixels(self) -> str:
        """Pixel format of the result."""
        return "yuvj420p" if self.full_range else "yuv420p"


class _Filters:
    """FFmpeg filter graph that scales, converts and rotates frames; it is rebuilt if the source's format changes."""

    def __init__(self, shape: _Shape) -> None:
        self._shape = shape
        self._source = ""
        self._graph = Graph()

    def apply(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Convert a frame for the encoder."""
        # The time base is a placeholder: the caller sets the frame's time.
        source = (
            f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base=1/1"
            f":colorspace={int(frame.colorspace)}:range={int(frame.color_range)}"
        )
        if source != self._source:
            self._source, self._graph = source, self._built(source)
        self._graph.vpush(frame)
        upright = self._graph.vpull()
        # Otherwise the encoder would use the source's frame types.
        upright.pict_type = 0
        return upright

    def _built(self, source: str) -> Graph:
        shape = self._shape
        width, height = reversed(shape.size) if shape.turns % 2 else shape.size
        chain = (
            ("buffer", source),
            ("scale", f"{width}:{height}:{_SCALING}:out_range={'full' if shape.full_range else 'limited'}"),
            ("format", shape.pixels),
            *_TURNS[shape.turns],
            ("buffersink",),
        )
        graph = Graph()
        graph.threads = 1
        for one, next_ in pairwise([graph.add(*words) for words in chain]):
            one.link_to(next_)
        graph.configure()
        return graph


def _even(side: Fraction) -> int:
    return max(2 * round(side / 2), 2)
