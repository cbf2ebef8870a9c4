"""The film: panels side by side at the video's pace, as GIF and as MP4."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from adamae.data.synthetic.encoding import encode_h264
from adamae.visualize.colours import ERROR_MAP, PROBABILITY_MAP, Scale, colour_table
from adamae.visualize.footage import Footage
from adamae.visualize.lettering import FAINT, INK, PAPER, legend, write
from adamae.visualize.panels import HIDDEN
from adamae.visualize.rows import Block, enlarged

# Least side of a panel in pixels; smaller frames are enlarged by a whole number.
_PANEL = 160
_GAP = 4
_SIZE = 12
# Frames from which the GIF's 256 colours are chosen.
_PALETTE_FRAMES = 12
# Colours of each map that have a place among the GIF's, and colours that it keeps as they are.
_MAP_COLOURS = 40
_KEPT = (PAPER, INK, FAINT, (HIDDEN, HIDDEN, HIDDEN))


def side_by_side(
    footage: Footage,
    blocks: Sequence[Block],
    scales: Sequence[Scale],
    notes: Sequence[str] = (),
    least_side: int = _PANEL,
) -> np.ndarray:
    """The frames of the film.

    Args:
        footage: The video.
        blocks: What the model made of it; each is a row of panels.
        scales: What their colours mean.
        notes: More lines for its foot.
        least_side: Frames smaller than this are enlarged by a whole number.

    Returns:
        (F, H, W, 3) uint8 of even height and width.
    """
    factor = max(1, -(-least_side // footage.frames.shape[2]))
    side = footage.frames.shape[2] * factor
    # Draws that prefer nothing have no probability; their rows end before it.
    longest = max((block.rows for block in blocks), key=len)
    names = ["video", *(row.name for row in longest)]
    width = _even(len(names) * (side + _GAP) + _GAP)
    foot = legend(scales, notes, width, _SIZE)
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
        write(stamp, (width - 4, 0), footage.stamp(number), _SIZE, anchor="ra", ink=FAINT)
        frame[y : y + height, -width:] = np.asarray(stamp)


def gif_bytes(frames: np.ndarray, times: np.ndarray) -> bytes:
    """A GIF that plays again and again.

    Args:
        frames: (F, H, W, 3) uint8.
        times: (F + 1,) seconds at which they are shown and the last one ends. GIFs count in hundredths of a second; the
            rounding never adds up.
    """
    # Without the last digits, which are noise.
    ends = np.round(np.round(100 * (times[1:] - times[0]), 6))
    hundredths = np.maximum(np.diff(ends, prepend=0), 1)
    pictures = _in_palette(frames, _choose_palette(frames))
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


def _choose_palette(frames: np.ndarray) -> np.ndarray:
    """(256, 3) uint8 for (F, H, W, 3) frames.

    Paper, ink, what is hidden and the colour maps have their places. In what remains a colour counts by the logarithm
    of its area: what moves is small.
    """
    some = frames[np.unique(np.linspace(0, len(frames) - 1, _PALETTE_FRAMES).round().astype(int))]
    _, first, counts = np.unique(_cells(some).ravel(), return_index=True, return_counts=True)
    colours = some.reshape(-1, 3)[first].repeat(np.log2(counts).astype(int) + 1, axis=0)
    steps = np.linspace(0, 255, _MAP_COLOURS).round().astype(int)
    kept = [np.array(_KEPT, dtype=np.uint8), *(colour_table(name)[steps] for name in (PROBABILITY_MAP, ERROR_MAP))]
    room = 256 - sum(map(len, kept))
    found = Image.fromarray(colours[None]).quantize(room, method=Image.Quantize.MEDIANCUT).getpalette()
    palette = np.concatenate([*kept, np.array(found, dtype=np.uint8).reshape(-1, 3)])
    return np.pad(palette, ((0, 256 - len(palette)), (0, 0)), mode="edge")


def _in_palette(frames: np.ndarray, palette: np.ndarray) -> list[Image.Image]:
    """Frames in the palette's nearest colours, by a table of all colours of five bits: ten times as fast as Pillow."""
    entries = palette.astype(np.int64)
    levels = np.linspace(0, 255, 32).round().astype(np.int64)
    colours = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    # |a - b|^2 without its first term, which is the same for all entries.
    distance = (entries**2).sum(axis=1) - 2 * colours @ entries.T
    nearest = distance.argmin(axis=1).astype(np.uint8)
    # What is kept as it is must not be lost to a neighbour.
    for number, entry in enumerate(palette[: len(_KEPT)]):
        nearest[_cells(entry)] = number
    pictures = []
    for frame in frames:
        picture = Image.fromarray(nearest[_cells(frame)])
        picture.putpalette(palette.tobytes())
        pictures.append(picture)
    return pictures


def _cells(colours: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 to (...) numbers of five bits for each colour."""
    red, green, blue = (colours[..., channel].astype(np.uint16) >> 3 for channel in range(3))
    return (red << 10) | (green << 5) | blue


def mp4_bytes(frames: np.ndarray, times: np.ndarray) -> bytes:
    """An H.264 film of (F, H, W, 3) uint8 frames.

    Args:
        frames: The pictures.
        times: (F + 1,) seconds at which they are shown and the last one ends. An even rate becomes a whole number of
            frames in a second, uneven times stay.
    """
    steps = np.diff(times)
    fps = max(round(round(1 / float(steps.mean()), 6)), 1)
    uneven = np.ptp(steps) > 1e-6
    return encode_h264(frames, fps=fps, gop=fps, crf=18, times=times if uneven else None)


def _even(size: int) -> int:
    return size + size % 2
