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

# Minimum side of an image in pixels; smaller frames are enlarged by an integer factor.
_SIDE = 112
# Maximum side of a page in pixels.
_MOST = 4000


def contact_sheets(
    video: VideoClips,
    blocks: Sequence[Block],
    scales: Sequence[Scale],
    columns: int,
    notes: Sequence[str] = (),
    most: int = _MOST,
) -> list[np.ndarray]:
    """Draw contact sheets: one, or several pages if one would be too large to open or to print.

    Args:
        video: The video.
        blocks: Panels of the reconstructions.
        scales: Colour scales of the panels.
        columns: Number of frames, evenly spaced from the first to the last.
        notes: Further lines at the foot of each page.
        most: Maximum side of a page in pixels, unless a single frame and variant need more.

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
            shown = [Block("", (Row(video.noun, video.frames.numpy().__getitem__),)), *part]
            rows = [row for block in shown for row in block.rows]
            names = [
                PictureRow("" if number else block.title, row.name)
                for block in shown
                for number, row in enumerate(block.rows)
            ]
            grid = PictureGrid(times, tuple(names), side, left, tuple(scales), tuple(notes))
            pictures = {
                (number, column): enlarged(row.image(frame), factor)
                for number, row in enumerate(rows)
                for column, frame in enumerate(some)
            }
            pages.append(grid.draw(pictures))
    return pages


def _divided(blocks: Sequence[Block], row: int, room: int) -> list[list[Block]]:
    """Group blocks, with a title and rows of ``row`` pixels each, to fit into ``room`` pixels of height."""
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
    """Encode an image (H, W, 3) uint8 as PNG."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="PNG")
    return file.getvalue()
