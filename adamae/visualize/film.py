"""The film: panels side by side at the video's pace, as GIF and as MP4."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from adamae.data.synthetic.encoding import encode_h264
from adamae.visualize.colours import ERROR_MAP, PROBABILITY_MAP, colour_table
from adamae.visualize.footage import Footage
from adamae.visualize.lettering import FAINT, PAPER, legend, write
from adamae.visualize.looks import Look
from adamae.visualize.rows import blocks_of, enlarged, notes_of, shared_scales

# Least side of a panel in pixels; smaller frames are enlarged by a whole number.
_PANEL = 160
_GAP = 4
_SIZE = 12
# Frames from which the GIF's 256 colours are chosen.
_PALETTE_FRAMES = 12


def side_by_side(
    footage: Footage, looks: Sequence[Look], notes: Sequence[str] = (), least_side: int = _PANEL
) -> np.ndarray:
    """The frames of the film.

    Args:
        footage: The video.
        looks: What the model made of it; each is a row of panels.
        notes: More lines for its foot.
        least_side: Frames smaller than this are enlarged by a whole number.

    Returns:
        (F, H, W, 3) uint8 of even height and width.
    """
    scales = shared_scales(looks)
    blocks = blocks_of(footage, looks, scales)
    factor = max(1, -(-least_side // footage.frames.shape[2]))
    side = footage.frames.shape[2] * factor
    names = ["video", *(row.name for row in blocks[0].rows)]
    width = _even(len(names) * (side + _GAP) + _GAP)
    foot = legend(list(scales), [*notes, *notes_of(looks)], width, _SIZE)
    head, title = 22, 20
    height = _even(head + len(blocks) * (side + title + _GAP) + foot.height)
    canvas = Image.new("RGB", (width, height), PAPER)
    for column, name in enumerate(names):
        write(canvas, (_GAP + column * (side + _GAP) + side // 2, 5), name, _SIZE, anchor="ma", bold=True)
    for number, block in enumerate(blocks):
        y = head + number * (side + title + _GAP) + side + 3
        write(canvas, (_GAP, y), block.title, _SIZE)
    canvas.paste(foot, (0, height - foot.height))
    frames = np.repeat(np.asarray(canvas)[None], len(footage.frames), axis=0)
    for number, block in enumerate(blocks):
        y = head + number * (side + title + _GAP)
        for column, panel in enumerate([footage.frames.numpy(), *(row.frames for row in block.rows)]):
            x = _GAP + column * (side + _GAP)
            frames[:, y : y + side, x : x + side] = enlarged(panel, factor)
    _stamp_times(frames, footage, head + side + 3)
    return frames


def _stamp_times(frames: np.ndarray, footage: Footage, y: int) -> None:
    """The time below the last panel of the first row."""
    width, height = min(130, frames.shape[2]), 16
    for number, frame in enumerate(frames):
        stamp = Image.new("RGB", (width, height), PAPER)
        write(stamp, (width - 4, 0), f"{footage.seconds(number):.2f} s", _SIZE, anchor="ra", ink=FAINT)
        frame[y : y + height, -width:] = np.asarray(stamp)


def gif_bytes(frames: np.ndarray, fps: float) -> bytes:
    """A GIF that plays again and again.

    Args:
        frames: (F, H, W, 3) uint8.
        fps: Frames per second. GIFs count in hundredths of a second; the rounding never adds up.
    """
    ends = np.round(100 * np.arange(1, len(frames) + 1) / fps)
    hundredths = np.maximum(np.diff(ends, prepend=0), 1)
    some = frames[np.unique(np.linspace(0, len(frames) - 1, _PALETTE_FRAMES).round().astype(int))]
    palette = Image.fromarray(np.concatenate([*some, *_ramps(some)])).quantize(256, method=Image.Quantize.MEDIANCUT)
    pictures = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    file = io.BytesIO()
    pictures[0].save(
        file,
        format="GIF",
        save_all=True,
        append_images=pictures[1:],
        duration=(hundredths * 10).astype(int).tolist(),
        loop=0,
        optimize=False,
    )
    return file.getvalue()


def _ramps(frames: np.ndarray) -> list[np.ndarray]:
    """The colour maps as pictures as wide as the frames: few pixels have their colours, and all are wanted."""
    _, height, width, _ = frames.shape
    places = np.linspace(0, 255, width).round().astype(int)
    return [np.repeat(colour_table(name)[places][None], height, axis=0) for name in (PROBABILITY_MAP, ERROR_MAP)]


def mp4_bytes(frames: np.ndarray, fps: float) -> bytes:
    """An H.264 film of (F, H, W, 3) uint8 frames."""
    return encode_h264(frames, fps=max(round(fps), 1), gop=max(round(fps), 1), crf=18)


def _even(size: int) -> int:
    return size + size % 2
