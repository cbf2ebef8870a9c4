"""Decode image files of any format to upright 8-bit RGB."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from adamae.data.decoding.damage import CUT_OFF
from adamae.data.decoding.protocol import DecodeError, library_reason

# The formats of the suffixes, and GIF, which occurs with other suffixes. Pillow has more, some run programs (EPS).
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
# What Pillow's plugins raise for damaged files.
_ERRORS = (
    *(OSError, SyntaxError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, EOFError),
    *(RuntimeError, MemoryError, struct.error),
)
# EXIF orientation -> function from the stored (H, W, 3) pixels to an upright view. The comments give the side of the
# upright image at which the stored row 0 and column 0 are, as in the standard.
_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda stored: stored,  # top, left
    2: lambda stored: stored[:, ::-1],  # top, right
    3: lambda stored: stored[::-1, ::-1],  # bottom, right
    4: lambda stored: stored[::-1],  # bottom, left
    5: lambda stored: stored.swapaxes(0, 1),  # left, top
    6: lambda stored: stored[::-1].swapaxes(0, 1),  # right, top
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),  # right, bottom
    8: lambda stored: stored[:, ::-1].swapaxes(0, 1),  # left, bottom
}
# Pillow's modes for 16-bit grey; in these formats also "I", which has 32 bits elsewhere.
_SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N")
_SIXTEEN_BIT_FORMATS = ("PNG", "PPM")
# MPO is a file with several JPEG images, as written by some cameras.
_JPEG = ("JPEG", "MPO")
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, b"\xff\xd9"


class _UnsupportedError(Exception):
    """The pixel format is not supported."""


def read_image(name: str, file: BinaryIO) -> np.ndarray:
    """Decode an image file; if it contains several images or frames, the first one.

    The format is determined by the content, not the name. 16-bit grey and colour values are reduced to their upper
    byte. Alpha is dropped and colour profiles are not applied, as in torchvision's ImageFolder. The EXIF orientation is
    applied.

    Args:
        name: Name for messages.
        file: File open for reading, at any position.

    Returns:
        (H, W, 3) uint8 RGB, possibly a view with arbitrary strides.

    Raises:
        DecodeError: The file is not an image, truncated, damaged, too large, or its pixels cannot be converted to RGB.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns about large images, damaged EXIF data and transparent palettes.
            warnings.simplefilter("ignore")
            with Image.open(file, formats=_FORMATS) as image:
                image.load()
                if image.format in _JPEG and not _has_end_marker(file):
                    raise OSError("truncated")
                # Pillow rotates TIFF images on loading and removes the tag.
                return _UPRIGHT[_orientation(image)](_rgb(image))
    except Image.DecompressionBombError:
        # Pillow warns above its limit and raises above twice the limit.
        reason = f"too large: more than {2 * (Image.MAX_IMAGE_PIXELS or 0)} pixels"
    except _UnsupportedError as error:
        reason = f"not supported: {error}"
    except UnidentifiedImageError:
        reason = "not a readable image"
    except _ERRORS as error:
        # Pillow has no exception type for truncated files.
        cut_off = "truncated" in str(error).lower()
        reason = f"{CUT_OFF}the file ends before the image does" if cut_off else f"damaged: {library_reason(error)}"
    raise DecodeError(name, reason)


def _has_end_marker(file: BinaryIO) -> bool:
    """Return whether a JPEG image has an end marker; without it Pillow rejects most images but decodes some."""
    file.seek(0)
    data = file.read()
    at = 2
    # Skip the segments: one may contain a thumbnail with its own end marker.
    while at + 4 <= len(data) and data[at] == 0xFF:
        if data[at + 1] == _START_OF_SCAN:
            return data.find(_END_OF_IMAGE, at) >= 0
        # 0xFF between segments is padding.
        at += 1 if data[at + 1] == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return True


def _rgb(image: Image.Image) -> np.ndarray:
    """Convert an image to (H, W, 3) uint8.

    Raises:
        _UnsupportedError: The mode is not supported.
    """
    sixteen = image.mode == "I" and image.format in _SIXTEEN_BIT_FORMATS
    if sixteen or image.mode in _SIXTEEN_BITS:
        grey = (np.asarray(image).astype(np.int32) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=-1)
    if image.mode in ("I", "F", "LAB"):
        raise _UnsupportedError(f"Pillow's mode {image.mode}, expected grey, RGB or CMYK of 8 or 16 bits")
    if image.mode in ("La", "RGBa"):
        # Premultiplied alpha.
        image = image.convert("RGBA" if image.mode == "RGBa" else "LA")
    return np.asarray(image.convert("RGB"))


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 if there is none or the EXIF data is damaged.

    ``ImageOps.exif_transpose`` also rewrites the other tags, which fails if one of them is damaged.
    """
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except _ERRORS:
        return 1
    return found if found in _UPRIGHT else 1
