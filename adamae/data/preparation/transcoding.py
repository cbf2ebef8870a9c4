"""One video re-encoded to what training reads fastest: small, upright, with short closed groups of pictures."""

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
# Without the two flags of exactness, CPUs of different kinds round differently. Colours of 4:2:0 lie where H.264 has
# them if nothing else is said.
_SCALING = "flags=bicubic+accurate_rnd+bitexact:in_chroma_loc=left:out_chroma_loc=left"
# Filters by quarter turns against the clock.
_TURNS = ((), (("transpose", "cclock"),), (("hflip",), ("vflip",)), (("transpose", "clock"),))


@dataclass(frozen=True)
class Encoding:
    """How videos are encoded; docs/benchmarks/encoding.md has the measurements behind the defaults.

    Attributes:
        short_side: Pixels of the shorter side; videos that are smaller keep their size.
        gop: Frames from one key frame to the next; no frame refers to anything beyond its group.
        crf: H.264 quality, 0 (best) to 51; below 18 one hardly sees a loss.
        bframes: Pictures between two that others refer to; a reader leaves out those that nobody wants.
        preset: Of the encoder: how much time it spends on small files.
        tune: "fastdecode" does without arithmetic coding and smoothing of block edges, which cost a decoder half of its
            time; "" does not.
    """

    short_side: int = 256
    gop: int = 16
    crf: int = 20
    bframes: int = 3
    preset: str = "veryfast"
    tune: str = "fastdecode"

    def options(self) -> dict[str, str]:
        """The encoder's options."""
        options = encoder_options(
            self.crf,
            self.preset,
            keyint=self.gop,
            min_keyint=self.gop,
            scenecut=0,
            open_gop=0,
            bframes=self.bframes,
            # As many as there may be, and none refers to another one: each can be left out.
            b_adapt=0,
            b_pyramid="none",
        )
        # Captions in the source would be copied into the pictures' headers.
        options["a53cc"] = "0"
        return options | ({"tune": self.tune} if self.tune else {})


@dataclass(frozen=True)
class Encoded:
    """What became of a video.

    Attributes:
        frames: How many, the same as in the source.
        seconds: From the first frame to the end of the last.
        width: In pixels.
        height: In pixels.
        bytes: Size of the file.
        damaged: Packets of the source that could not be decoded and were passed over.
    """

    frames: int
    seconds: float
    width: int
    height: int
    bytes: int
    damaged: int


def transcode(source: str, target: str, temporary: str, encoding: Encoding) -> Encoded:
    """Re-encode a video; ``target`` is there as a whole or not at all.

    Frames keep their number, order and times. They come out upright, with even sides and 8 bits of YUV 4:2:0. Pixels
    are those that are stored, as decoding gives them: a sample aspect ratio is kept as a mark for players and not
    applied. The meaning of colours (matrix, range) stays. Sound and further streams are dropped. The same file and
    encoding give the same bytes on every CPU with the same version of the libraries.

    Args:
        source: A video.
        target: Where it goes; its folder is made.
        temporary: Where it is written first, on the same file system; its folder is made.
        encoding: How.

    Raises:
        DecodeError: The source is no video, is cut off, cannot be read, or less than half of it can be decoded.
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
    """A video that is decoded in sequence, by one thread, past damage."""

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
        """Frames per second; 25 where the file does not tell."""
        rate = self.stream.average_rate or self.stream.guessed_rate
        return Fraction(rate) if rate and Fraction(1, 100) < rate <= 1000 else Fraction(25)

    @property
    def time_base(self) -> Fraction:
        """Unit of the frames' times, in seconds; an MP4 file must be able to hold it."""
        base = self.stream.time_base
        return Fraction(base) if base and base.numerator and base.denominator <= 1_000_000 else Fraction(1, 90_000)

    def frames(self) -> Iterator[av.VideoFrame]:
        """All frames that can be decoded, as the readers count them."""
        for packet in self._packets():
            try:
                frames = self.stream.codec_context.decode(packet)
            except (av.FFmpegError, OSError):
                self.damaged += 1
                continue
            yield from frames

    def _packets(self) -> Iterator[av.Packet | None]:
        """All packets that hold data, and None for the end."""
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
        # The matrix of RGB frames is none.
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
    """How a source's frames become upright ones of the wanted size.

    Attributes:
        size: Width and height of the result.
        turns: Quarter turns against the clock.
        full_range: Whether brightness goes from 0 to 255 instead of 16 to 235.
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
        # Greys and RGB become the usual range on their way to YUV.
        full = full and not frame.format.is_rgb and not frame.format.name.startswith("gray")
        return cls((sides[1], sides[0]) if turns % 2 else (sides[0], sides[1]), turns, full)

    @property
    def pixels(self) -> str:
        """The format of the result's pixels."""
        return "yuvj420p" if self.full_range else "yuv420p"


class _Filters:
    """A graph of FFmpeg's filters that scales, converts and turns a source's frames; a new one where they change."""

    def __init__(self, shape: _Shape) -> None:
        self._shape = shape
        self._source = ""
        self._graph = Graph()

    def apply(self, frame: av.VideoFrame) -> av.VideoFrame:
        """A frame as it is encoded."""
        # Times are the encoder's matter, and the same for all sources here.
        source = (
            f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base=1/1"
            f":colorspace={int(frame.colorspace)}:range={int(frame.color_range)}"
        )
        if source != self._source:
            self._source, self._graph = source, self._built(source)
        self._graph.vpush(frame)
        upright = self._graph.vpull()
        # The encoder would repeat the source's choice of key frames.
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
