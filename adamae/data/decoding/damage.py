"""Rules for damaged videos, shared by all commands: which are refused, and which are read without the damaged parts."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from adamae.data.decoding.byte_ranges import is_kept
from adamae.data.decoding.protocol import DecodeError, EncodedVideo, VideoSource, name_of
from adamae.data.decoding.truncation import find_truncation

# Prefix of the reason of a DecodeError for truncated files, by which a scan recognises them.
CUT_OFF = "cut off: "


@contextmanager
def open_file(source: VideoSource) -> Iterator[BinaryIO]:
    """Open a file, or the bytes of one, for reading.

    Raises:
        DecodeError: The file is missing, empty, a directory, truncated, or cannot be read, here or by the caller.
    """
    if isinstance(source, EncodedVideo):
        if not source.data:
            raise DecodeError(source.name, "the file is empty")
        file: BinaryIO = io.BytesIO(source.data)
    else:
        try:
            file = Path(source).open("rb")  # noqa: SIM115 (closed below)
        except FileNotFoundError:
            raise DecodeError(source, "no such file") from None
        except OSError as error:
            raise DecodeError(source, f"cannot be opened ({error.strerror})") from None
    try:
        with file:
            if not file.read(1):
                raise DecodeError(name_of(source), "the file is empty")
            check_whole(name_of(source), file)
            file.seek(0)
            yield file
    except OSError as error:
        raise DecodeError(name_of(source), f"cannot be read ({error.strerror or error})") from None


def load_file(source: VideoSource) -> VideoSource:
    """Load the bytes of a file, or return its path if it is too large to keep in memory.

    Missing, empty and truncated files are refused here, so that the message does not depend on the decoder. So are file
    system errors, which a library that reads the file itself could take for the end of the video.

    Raises:
        DecodeError: As :func:`open_file`.
    """
    with open_file(source) as file:
        if isinstance(source, EncodedVideo):
            return source
        size = os.fstat(file.fileno()).st_size
        # Not read to the end: a device has none.
        return EncodedVideo(source, file.read(size)) if is_kept(size) else source


def check_whole(path: str, file: BinaryIO) -> None:
    """Raise an error if a file is shorter than its container states, even if part of it could be decoded.

    Args:
        path: Path for the message.
        file: Open seekable file, at any position.

    Raises:
        DecodeError: The file is truncated.
    """
    truncation = find_truncation(file)
    if truncation is not None:
        raise DecodeError(path, f"{CUT_OFF}{truncation.found} of {truncation.expected} {truncation.unit} are there")


def check_loss(path: str, decoded: int, lost: int) -> None:
    """Raise an error if less than half of a video can be decoded; in other videos damaged parts are skipped.

    Args:
        path: Path for the message.
        decoded: Number of frames that could be decoded.
        lost: Number of frames, or packets, that could not.

    Raises:
        DecodeError: More is lost than could be decoded.
    """
    if lost > decoded:
        raise DecodeError(path, f"damaged: only {decoded} of {decoded + lost} frames can be decoded")


def describe_loss(lost: int) -> str:
    """Return a description of the damage in a video that is read nevertheless."""
    return f"{lost} damaged packet{'s' * (lost != 1)} skipped"
