"""Contact sheets: frames from left to right, panels and variants from top to bottom."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from adamae.visualize.colours import Scale
from adamae.visualize.picture_grid import GAP, HEAD, TITLE, PictureGrid, PictureRow, left_of
from adamae.visualize.rows import Block, Row, enlarged
from adamae.visualize.video_clips import VideoClips

# Least side of a picture in pixels; smaller frames are enlarged by a whole number.
_SIDE = 112
# Most pixels along a side of a page.
_MOST = 4000


def contact_sheets(
    video: VideoClips,
    blocks: Sequence[Block],
    scales: Sequence[Scale],
    columns: int,
    notes: Sequence[str] = (),
    most: int = _MOST,
) -> list[np.ndarray]:
    """Draw them: one sheet, or pages where one would be too large to open or to print.

    Args:
        video: The video.
        blocks: What the model made of it, in each variant.
        scales: What their colours mean.
        columns: How many frames, spread evenly from the first to the last.
        notes: More lines for each foot.
        most: Pixels along a side of a page, as far as one frame and one variant fit.

    Returns:
        Pages (H, W, 3) uint8: the frames of all variants from the first to the last page, then the next frames. Each
        has the video above its variants, and the legend.
    """
    count = len(video.frames)
    chosen = np.unique(np.linspace(0, count - 1, min(columns, count)).round().astype(int))
    factor = max(1, -(-_SIDE // video.frames.shape[2]))
    side = video.frames.shape[2] * factor
    left = left_of([video.noun, *(row.name for block in blocks for row in block.rows)])
    across = max((most - left - GAP) // (side + GAP), 1)
    pages = []
    for some in np.array_split(chosen, -(-len(chosen) // across)):
        times = tuple(video.stamp(frame) for frame in some)
        foot = PictureGrid(times, (), side, left, tuple(scales), tuple(notes)).foot_height
        for part in _divided(blocks, side + GAP, most - HEAD - foot - (side + GAP)):
            shown = [Block("", (Row(video.noun, video.frames.numpy()),)), *part]
            rows = [row for block in shown for row in block.rows]
            names = [
                PictureRow("" if number else block.title, row.name)
                for block in shown
                for number, row in enumerate(block.rows)
            ]
            grid = PictureGrid(times, tuple(names), side, left, tuple(scales), tuple(notes))
            pictures = {
                (number, column): enlarged(row.frames[frame], factor)
                for number, row in enumerate(rows)
                for column, frame in enumerate(some)
            }
            pages.append(grid.draw(pictures))
    return pages


def _divided(blocks: Sequence[Block], row: int, room: int) -> list[list[Block]]:
    """Blocks, a title and rows of ``row`` pixels each, in groups that fit into ``room`` pixels of height."""
    groups: list[list[Block]] = [[]]
    used = 0
    for block in blocks:
        height = TITLE + row * len(block.rows)
        if groups[-1] and used + height > room:
            groups.append([])
            used = 0
        groups[-1].append(block)
        used += height
    return groups


def png_bytes(picture: np.ndarray) -> bytes:
    """A picture (H, W, 3) uint8 as the bytes of a PNG file."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="PNG")
    return file.getvalue()
