"""Frames to the bytes of an H.264 file."""

from __future__ import annotations

import io

import av
import numpy as np

from adamae.errors import UserError

CODEC = "libx264"


def encode_h264(frames: np.ndarray, *, fps: int, gop: int, crf: int) -> bytes:
    """An MP4 file in memory; the same frames give the same bytes.

    Args:
        frames: (T, H, W, 3) uint8, even height and width.
        fps: Frames per second.
        gop: Frames from one key frame to the next: a decoder that wants a late frame starts at a key frame.
        crf: Quality, 0 (best) to 51; below 18 one hardly sees a loss.

    Raises:
        UserError: If PyAV was built without an H.264 encoder.
    """
    if CODEC not in av.codecs_available:
        raise UserError(f"this build of PyAV {av.__version__} has no {CODEC} encoder: install the wheel from PyPI")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as file:
        options = {"crf": str(crf), "preset": "veryfast"}
        stream = file.add_stream(CODEC, rate=fps, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.gop_size = gop
        # Slices of several threads would make the bytes depend on the machine.
        stream.thread_count = 1
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())
    return buffer.getvalue()
