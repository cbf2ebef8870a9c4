"""Decoder back ends behind one protocol. Each is imported only when it is requested."""

from __future__ import annotations

import os
from functools import partial
from importlib import import_module
from importlib.util import find_spec

from adamae.data.decoders import DECODERS
from adamae.data.decoding.image_names import is_image
from adamae.data.decoding.protocol import (
    DecodedFrame,
    DecodeError,
    EncodedVideo,
    FrameFolder,
    OpenVideo,
    VideoReader,
    VideoSource,
    name_of,
)
from adamae.errors import UserError

__all__ = [
    "DECODERS",
    "DecodeError",
    "DecodedFrame",
    "EncodedVideo",
    "FrameFolder",
    "OpenVideo",
    "VideoReader",
    "VideoSource",
    "get_decoder",
    "installed_decoders",
]


def installed_decoders() -> list[str]:
    """Return the names of the back ends whose package is installed, without importing any."""
    return [name for name, (package, _) in DECODERS.items() if find_spec(package) is not None]


def get_decoder(name: str = "pyav") -> OpenVideo:
    """Return the function that opens a video with a back end.

    Images and folders of numbered images are always read by Pillow.

    Args:
        name: A key of :data:`DECODERS`.

    Raises:
        UserError: The name is unknown, or its package is not installed or cannot be loaded.
    """
    if name not in DECODERS:
        raise UserError(f"decoder is {name!r}, expected one of {', '.join(DECODERS)}")
    package, module = DECODERS[name]
    if find_spec(package) is None:
        installed = ", ".join(installed_decoders()) or "none"
        raise UserError(
            f"decoder {name!r} needs the package {package!r}, which is not installed; installed: {installed}"
        )
    try:
        opener: OpenVideo = import_module(module).open_video
    except (ImportError, OSError, RuntimeError) as error:
        hint = " (torchcodec needs FFmpeg 4 to 8 as shared libraries)" if name == "torchcodec" else ""
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"decoder {name!r} is installed but cannot be loaded: {reason}{hint}") from error
    return partial(_open, opener)


def _open(open_file: OpenVideo, source: VideoSource, *, num_frames: int | None = None) -> VideoReader:
    if isinstance(source, str) and os.path.isdir(source):  # noqa: PTH112 (speed)
        from adamae.data.decoding.frame_folder import open_folder

        return open_folder(source)
    if is_image(name_of(source)):
        from adamae.data.decoding.image_file import open_image

        return open_image(source)
    return open_file(source, num_frames=num_frames)
