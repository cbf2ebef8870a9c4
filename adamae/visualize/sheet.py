"""The contact sheet: frames from left to right, panels and variants from top to bottom."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from adamae.visualize.colours import Scale
from adamae.visualize.footage import Footage
from adamae.visualize.lettering import FAINT, PAPER, legend, width_of, write
from adamae.visualize.rows import Block, Row, enlarged

# Least side of a cell in pixels; smaller frames are enlarged by a whole number.
_CELL = 112
_GAP = 3
_SIZE = 12


def contact_sheet(
    footage: Footage, blocks: Sequence[Block], scales: Sequence[Scale], columns: int, notes: Sequence[str] = ()
) -> Image.Image:
    """Draw it.

    Args:
        footage: The video.
        blocks: What the model made of it, in each variant.
        scales: What their colours mean.
        columns: How many frames, spread evenly from the first to the last.
        notes: More lines for its foot.
    """
    count = len(footage.frames)
    chosen = np.unique(np.linspace(0, count - 1, min(columns, count)).round().astype(int))
    blocks = [Block("", (Row("video", footage.frames.numpy()),)), *blocks]
    factor = max(1, -(-_CELL // footage.frames.shape[2]))
    cell = footage.frames.shape[2] * factor
    left = 4 * _GAP + max(
        *(width_of(row.name, _SIZE) for block in blocks for row in block.rows),
    )
    width = left + len(chosen) * (cell + _GAP) + _GAP
    foot = legend(scales, notes, width, _SIZE)
    heads = [_SIZE + 10 if block.title else 0 for block in blocks]
    rows = sum(len(block.rows) for block in blocks)
    image = Image.new("RGB", (width, 24 + sum(heads) + rows * (cell + _GAP) + foot.height), PAPER)
    for column, frame in enumerate(chosen):
        middle = left + column * (cell + _GAP) + cell // 2
        write(image, (middle, 8), footage.stamp(frame), _SIZE, anchor="ma", ink=FAINT)
    y = 26
    for block, head in zip(blocks, heads, strict=True):
        if block.title:
            write(image, (left, y + 4), block.title, _SIZE, bold=True)
        y += head
        for row in block.rows:
            write(image, (left - _GAP - 4, y + cell // 2), row.name, _SIZE, anchor="rm")
            for column, frame in enumerate(chosen):
                picture = Image.fromarray(enlarged(row.frames[frame], factor))
                image.paste(picture, (left + column * (cell + _GAP), y))
            y += cell + _GAP
    image.paste(foot, (0, y))
    return image


def png_bytes(image: Image.Image) -> bytes:
    """A picture as the bytes of a PNG file."""
    file = io.BytesIO()
    image.save(file, format="PNG")
    return file.getvalue()
