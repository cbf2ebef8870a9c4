"""The pixels of an image file: 8-bit RGB, upright, whatever the file stores."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from adamae.data.decoding.damage import CUT_OFF
from adamae.data.decoding.protocol import DecodeError, one_line

# Those of the suffixes, and GIF, which has others in the wild. Pillow knows more, some of which start programs (EPS).
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
# What Pillow's plugins raise for damaged files.
_ERRORS = (
    *(OSError, SyntaxError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, EOFError),
    *(RuntimeError, MemoryError, struct.error),
)
# EXIF orientation -> the stored (H, W, 3) pixels upright, as a view; where the stored row 0 and column 0 are in the
# upright image, in the words of the standard.
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
# Modes in which Pillow opens 16-bit grey; in these formats also "I", which holds 32 bits elsewhere.
_SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N")
_SIXTEEN_BIT_FORMATS = ("PNG", "PPM")
# MPO is several of them in one file, as some cameras write.
_JPEG = ("JPEG", "MPO")
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, b"\xff\xd9"


class _UnsupportedError(Exception):
    """Pixels that are not converted."""


def read_image(name: str, file: BinaryIO) -> np.ndarray:
    """Decode an image file; of several images or frames in it the first.

    The format is found by the content, not the name. 16 bits become 8 by their upper byte, in grey as in colour. Alpha
    is dropped, and colour profiles are not applied, as by torchvision's ImageFolder. The EXIF orientation is applied.

    Args:
        name: For messages.
        file: Open for reading at any position.

    Returns:
        (H, W, 3) uint8 RGB, perhaps a view with any strides.

    Raises:
        DecodeError: It is no image, cut off, damaged, too large, or has pixels that cannot be converted to RGB.
    """
    try:
        with warnings.catch_warnings():
            # On large images, damaged EXIF data and transparent palettes.
            warnings.simplefilter("ignore")
            with Image.open(file, formats=_FORMATS) as image:
                image.load()
                if image.format in _JPEG and not _has_end_marker(file):
                    raise OSError("truncated")
                # Pillow rotates TIFF files itself while they are loaded, and removes the tag.
                return _UPRIGHT[_orientation(image)](_rgb(image))
    except Image.DecompressionBombError:
        # Pillow warns above its limit, and raises above twice that.
        reason = f"too large: more than {2 * (Image.MAX_IMAGE_PIXELS or 0)} pixels"
    except _UnsupportedError as error:
        reason = f"not supported: {error}"
    except UnidentifiedImageError:
        reason = "not a readable image"
    except _ERRORS as error:
        # Pillow has no type of error of its own for files that end too early.
        cut_off = "truncated" in str(error).lower()
        reason = f"{CUT_OFF}the file ends before the image does" if cut_off else f"damaged: {one_line(error)}"
    raise DecodeError(name, reason)


def _has_end_marker(file: BinaryIO) -> bool:
    """Whether a JPEG image ends with its marker: without it Pillow refuses most images, and decodes some."""
    file.seek(0)
    data = file.read()
    at = 2
    # Segments, of which one may hold a smaller image with a marker of its own.
    while at + 4 <= len(data) and data[at] == 0xFF:
        if data[at + 1] == _START_OF_SCAN:
            return data.find(_END_OF_IMAGE, at) >= 0
        # Between segments 0xFF is filling.
        at += 1 if data[at + 1] == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return True


def _rgb(image: Image.Image) -> np.ndarray:
    """(H, W, 3) uint8.

    Raises:
        _UnsupportedError: The conversion is not known.
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
    """The EXIF orientation, 1 to 8; 1 where there is none or the EXIF data is damaged.

    ``ImageOps.exif_transpose`` would also write the other tags anew, which fails where one of them is damaged.
    """
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except _ERRORS:
        return 1
    return found if found in _UPRIGHT else 1
