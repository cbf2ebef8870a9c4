"""What counts as damage, for every command: which videos are refused, and of which the rest is read."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from adamae.data.decoding.byte_ranges import is_kept
from adamae.data.decoding.promises import promise_of
from adamae.data.decoding.protocol import DecodeError, EncodedVideo, VideoSource, name_of

# What the reason begins with, by which a scan tells such files from others.
CUT_OFF = "cut off: "


@contextmanager
def open_file(source: VideoSource) -> Iterator[BinaryIO]:
    """A file, or the bytes of one, open for reading.

    Raises:
        DecodeError: The file is missing, empty, a directory, cut off, or cannot be read, here or by the caller.
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
    """The bytes of a file, or its path if it is too large to keep.

    What no decoder needs to look at is refused in words that do not depend on the decoder; an error of the file system
    too, which could be the end of the video to a library that reads the file itself.

    Raises:
        DecodeError: As :func:`open_file`.
    """
    with open_file(source) as file:
        if isinstance(source, EncodedVideo):
            return source
        size = os.fstat(file.fileno()).st_size
        # Not to the end, which a device does not have.
        return EncodedVideo(source, file.read(size)) if is_kept(size) else source


def check_whole(path: str, file: BinaryIO) -> None:
    """Refuse a file that ends before its container says, however much of it could be read.

    Args:
        path: For the message.
        file: Open, at any place; can be read at every other.

    Raises:
        DecodeError: It is cut off.
    """
    promise = promise_of(file)
    if promise is not None:
        raise DecodeError(path, f"{CUT_OFF}{promise.there} of {promise.whole} {promise.what} are there")


def check_loss(path: str, decoded: int, lost: int) -> None:
    """Refuse a video of which less than half can be decoded; of others what is damaged is passed over.

    Args:
        path: For the message.
        decoded: Frames that could be decoded.
        lost: Frames, or packets, that could not.

    Raises:
        DecodeError: More is lost than is there.
    """
    if lost > decoded:
        raise DecodeError(path, f"damaged: only {decoded} of {decoded + lost} frames can be decoded")


def describe_loss(lost: int) -> str:
    """What a person should know about a video that is read all the same."""
    return f"{lost} damaged packet{'s' * (lost != 1)} passed over"
