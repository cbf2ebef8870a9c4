"""Contact sheets: frames from left to right, panels and variants from top to bottom."""

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
# Height of the line of times, and of a block's title.
_TOP = 26
_TITLE = _SIZE + 10
# Most pixels along a side of a page.
_MOST = 4000


def contact_sheets(
    footage: Footage,
    blocks: Sequence[Block],
    scales: Sequence[Scale],
    columns: int,
    notes: Sequence[str] = (),
    most: int = _MOST,
) -> list[Image.Image]:
    """Draw them: one sheet, or pages where one would be too large to open or to print.

    Args:
        footage: The video.
        blocks: What the model made of it, in each variant.
        scales: What their colours mean.
        columns: How many frames, spread evenly from the first to the last.
        notes: More lines for each foot.
        most: Pixels along a side of a page, as far as one frame and one variant fit.

    Returns:
        Pages: the frames of all variants from the first to the last page, then the next frames. Each has the video
        above its variants, and the legend.
    """
    count = len(footage.frames)
    chosen = np.unique(np.linspace(0, count - 1, min(columns, count)).round().astype(int))
    cell = footage.frames.shape[2] * _factor(footage)
    names = ["video", *(row.name for block in blocks for row in block.rows)]
    left = 4 * _GAP + max(width_of(name, _SIZE) for name in names)
    across = max((most - left - _GAP) // (cell + _GAP), 1)
    pages = []
    for some in np.array_split(chosen, -(-len(chosen) // across)):
        width = left + len(some) * (cell + _GAP) + _GAP
        foot = legend(scales, notes, width, _SIZE)
        room = most - _TOP - foot.height - (cell + _GAP)
        pages += [_page(footage, part, some, left, foot) for part in _divided(blocks, cell + _GAP, room)]
    return pages


def _factor(footage: Footage) -> int:
    return max(1, -(-_CELL // footage.frames.shape[2]))


def _divided(blocks: Sequence[Block], row: int, room: int) -> list[list[Block]]:
    """Blocks, a title and rows of ``row`` pixels each, in groups that fit into ``room`` pixels of height."""
    groups: list[list[Block]] = [[]]
    used = 0
    for block in blocks:
        height = _TITLE + row * len(block.rows)
        if groups[-1] and used + height > room:
            groups.append([])
            used = 0
        groups[-1].append(block)
        used += height
    return groups


def _page(footage: Footage, blocks: Sequence[Block], chosen: np.ndarray, left: int, foot: Image.Image) -> Image.Image:
    """One page: (n,) chosen frames, whose names end at ``left``."""
    blocks = [Block("", (Row("video", footage.frames.numpy()),)), *blocks]
    factor = _factor(footage)
    cell = footage.frames.shape[2] * factor
    heads = [_TITLE if block.title else 0 for block in blocks]
    rows = sum(len(block.rows) for block in blocks)
    image = Image.new("RGB", (foot.width, _TOP + sum(heads) + rows * (cell + _GAP) + foot.height), PAPER)
    for column, frame in enumerate(chosen):
        middle = left + column * (cell + _GAP) + cell // 2
        write(image, (middle, 8), footage.stamp(frame), _SIZE, anchor="ma", ink=FAINT)
    y = _TOP
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
