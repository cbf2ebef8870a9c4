"""Words and colour bars on pictures, in the font that matplotlib brings along."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from adamae.visualize.colours import Scale, colour_table

PAPER = (255, 255, 255)
INK = (32, 32, 32)
FAINT = (110, 110, 110)
_BAR = (120, 10)


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans: no font is looked for on the machine or in the network."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)


def width_of(text: str, size: int, bold: bool = False) -> int:
    """Pixels that a line takes."""
    return int(np.ceil(font(size, bold).getlength(text)))


def write(
    image: Image.Image,
    place: tuple[int, int],
    text: str,
    size: int,
    *,
    anchor: str = "la",
    bold: bool = False,
    ink: tuple[int, int, int] = INK,
) -> None:
    """A line of text; ``anchor`` is Pillow's."""
    ImageDraw.Draw(image).text(place, text, font=font(size, bold), fill=ink, anchor=anchor)


def broken(text: str, width: int, size: int) -> list[str]:
    """A text in lines of at most ``width`` pixels."""
    lines: list[str] = []
    for word in text.split():
        if lines and width_of(f"{lines[-1]} {word}", size) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def legend(scales: Sequence[Scale], notes: Sequence[str], width: int, size: int = 12) -> Image.Image:
    """The colour bars with their ends, and what a reader has to know, as wide as the picture above it."""
    pad, line = 8, size + 6
    places, x, y = [], pad, pad
    for scale in scales:
        needed = _BAR[0] + sum(width_of(text, size) for text in (scale.what, "0", scale.end)) + 4 * pad
        if x > pad and x + needed > width:
            x, y = pad, y + line
        places.append((x, y))
        x += needed + 2 * pad
    lines = [part for note in notes for part in broken(note, width - 2 * pad, size)]
    top = y + line if scales else pad
    image = Image.new("RGB", (width, top + len(lines) * line + pad), PAPER)
    for scale, place in zip(scales, places, strict=True):
        _bar(image, scale, place, size)
    for number, text in enumerate(lines):
        write(image, (pad, top + number * line), text, size, ink=FAINT)
    return image


def _bar(image: Image.Image, scale: Scale, place: tuple[int, int], size: int) -> None:
    x, y = place
    write(image, (x, y), scale.what, size)
    x += width_of(scale.what, size) + 8
    write(image, (x, y), "0", size, ink=FAINT)
    x += width_of("0", size) + 4
    ramp = colour_table(scale.colours)[np.linspace(0, 255, _BAR[0]).round().astype(int)]
    image.paste(Image.fromarray(np.repeat(ramp[None], _BAR[1], axis=0)), (x, y + 2))
    write(image, (x + _BAR[0] + 4, y), scale.end, size, ink=FAINT)
