"""H.264 encoding in memory, and the options with which the same frames result in the same bytes on every CPU."""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from typing import Protocol

import av
import numpy as np

from adamae.errors import UserError

CODEC = "libx264"
# Time base (ticks per second) for uneven frame times, as players expect it in MP4.
_UNITS = 90_000


def encoder_options(crf: int, preset: str, **parameters: int | str) -> dict[str, str]:
    """Return options for ``add_stream`` with which the same frames result in the same bytes on every CPU.

    x264's macroblock-tree is not deterministic in its AVX-512 assembly, and differs with and without AVX2;
    ``cpu-independent`` makes it the same everywhere. Threads would cut frames into slices by the number of cores.

    Args:
        crf: Quality, 0 (best) to 51; below 18 the loss is hardly visible.
        preset: Preset of x264: encoding time against file size.
        parameters: Further settings of x264; "_" stands for "-".

    Raises:
        UserError: If this build of PyAV has no H.264 encoder.
    """
    if CODEC not in av.codecs_available:
        raise UserError(f"this build of PyAV {av.__version__} has no {CODEC} encoder: install the wheel from PyPI")
    fixed = {"cpu-independent": 1, "threads": 1}
    settings = {name.replace("_", "-"): value for name, value in parameters.items()} | fixed
    return {
        "crf": str(crf),
        "preset": preset,
        "x264-params": ":".join(f"{name}={value}" for name, value in settings.items()),
    }


class Frames(Protocol):
    """Frames (T, H, W, 3) uint8: an array, or frames that are made when they are read."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(T, H, W, 3)."""

    def __len__(self) -> int:
        """Return T."""

    def __iter__(self) -> Iterator[np.ndarray]:
        """Return the frames (H, W, 3) one after the other."""


def encode_h264(frames: Frames, *, fps: int, gop: int, crf: int, times: np.ndarray | None = None) -> bytes:
    """Encode an MP4 file in memory; the same frames result in the same bytes on every CPU.

    Args:
        frames: (T, H, W, 3) uint8, even height and width.
        fps: Frames per second.
        gop: Frames from one keyframe to the next. Decoding of a frame starts at a keyframe.
        crf: Quality, 0 (best) to 51; below 18 the loss is hardly visible.
        times: (T + 1,) ascending seconds at which frames are shown and the last one ends; None for a constant rate.

    Raises:
        UserError: If PyAV was built without an H.264 encoder.
    """
    options = encoder_options(crf, "veryfast")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as file:
        stream = file.add_stream(CODEC, rate=fps, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.gop_size = gop
        stream.thread_count = 1
        ticks = np.arange(len(frames) + 1)
        if times is not None:
            ticks = np.round((times - times[0]) * _UNITS).astype(np.int64)
            stream.time_base = stream.codec_context.time_base = Fraction(1, _UNITS)
        lasting = dict(zip(ticks.tolist(), np.diff(ticks).tolist(), strict=False))
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = int(ticks[number])
            _write(file, stream.encode(frame), lasting)
        _write(file, stream.encode(), lasting)
    return buffer.getvalue()


def _write(file: av.container.OutputContainer, packets: list[av.Packet], lasting: dict[int, int]) -> None:
    """Write packets, each with the duration of its frame."""
    for packet in packets:
        assert packet.pts is not None
        packet.duration = lasting[packet.pts]
        file.mux(packet)
