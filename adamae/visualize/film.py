"""Films: panels side by side at the video's frame rate, as GIF and MP4."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import zip_longest

import numpy as np
from einops import rearrange
from PIL import Image

from adamae.data.synthetic.encoding import encode_h264
from adamae.visualize.colours import ERROR_MAP, PROBABILITY_MAP, Scale, colour_table
from adamae.visualize.panels import HIDDEN
from adamae.visualize.picture_grid import FAINT, GAP, INK, PAPER, TITLE, PictureGrid, PictureRow, letter_lines
from adamae.visualize.rows import Block, enlarged
from adamae.visualize.video_clips import VideoClips

# Minimum side of a panel in pixels; smaller frames are enlarged by an integer factor.
_PANEL = 160
# Maximum width of the timestamp in pixels.
_STAMP = 130
# Minimum and maximum duration of a GIF frame in hundredths of a second: browsers show shorter frames for a tenth of a
# second, and the number has two bytes.
_GIF_SHORTEST, _GIF_LONGEST = 2, 2**16 - 1
# Number of frames from which the GIF's 256 colours are chosen.
_PALETTE_FRAMES = 12
# Number of colours of each colour map in the GIF, colours that are kept exactly, and the minimum distance of others.
_MAP_COLOURS = 40
_KEPT = (PAPER, INK, FAINT, (HIDDEN, HIDDEN, HIDDEN))
_APART = 8
# Largest relative difference of a frame rate from an integer to which it is rounded in an MP4: 24 / 1.001 is rounded.
_ROUNDED = 2e-3


def side_by_side(
    video: VideoClips,
    blocks: Sequence[Block],
    scales: Sequence[Scale],
    notes: Sequence[str] = (),
    least_side: int = _PANEL,
) -> np.ndarray:
    """Draw the frames of the film.

    Args:
        video: The video.
        blocks: Panels of the reconstructions; each block is a row of panels.
        scales: Colour scales of the panels.
        notes: Further lines at the foot.
        least_side: Frames smaller than this are enlarged by an integer factor.

    Returns:
        (F, H, W, 3) uint8 with even height and width.
    """
    factor = max(1, -(-least_side // video.frames.shape[2]))
    side = video.frames.shape[2] * factor
    # Blocks with uniform sampling have no probability row and are shorter; other blocks may name it differently.
    columns = zip_longest(*([row.name for row in block.rows] for block in blocks))
    names = (video.noun, *(" / ".join(dict.fromkeys(filter(None, column))) for column in columns))
    # A line for the title is always present, because the timestamp is at its end.
    rows = tuple(PictureRow(block.title or " ") for block in blocks)
    grid = PictureGrid(names, rows, side, GAP, tuple(scales), tuple(notes))
    page = grid.draw({})
    even = np.pad(page, ((0, len(page) % 2), (0, page.shape[1] % 2), (0, 0)), constant_values=PAPER[0])
    frames = np.repeat(even[None], len(video.frames), axis=0)
    for number, block in enumerate(blocks):
        for column, panel in enumerate([video.frames.numpy(), *(row.frames for row in block.rows)]):
            frames[(slice(None), *grid.image_slices(number, column))] = enlarged(panel, factor)
    width, top = min(_STAMP, grid.width), grid.tops[0]
    times = letter_lines(map(video.stamp, range(len(frames))), width)
    for frame, time in zip(frames, times, strict=True):
        frame[top - TITLE : top, grid.width - width : grid.width] = time
    return frames


def gif_bytes(frames: np.ndarray, times: np.ndarray) -> bytes:
    """Encode an endless GIF.

    Args:
        frames: (F, H, W, 3) uint8.
        times: (F + 1,) seconds at which frames are shown and the last one ends. GIFs have a resolution of a hundredth
            of a second; rounding errors do not accumulate. A frame is shown for 0.02 to 655.35 seconds: of more than 50
            frames a second some are left out.
    """
    shown, hundredths = _gif_timing(times)
    palette = _choose_palette(frames)
    # Dithering would flicker.
    pictures = [Image.fromarray(frames[frame]).quantize(palette=palette, dither=Image.Dither.NONE) for frame in shown]
    file = io.BytesIO()
    pictures[0].save(
        file,
        format="GIF",
        save_all=True,
        append_images=pictures[1:],
        duration=[10 * duration for duration in hundredths],
        loop=0,
        optimize=False,
    )
    return file.getvalue()


def _gif_timing(times: np.ndarray) -> tuple[list[int], list[int]]:
    """Return the frames that a GIF shows and their durations in hundredths of a second; ``times`` as in gif_bytes."""
    # The last digits are numerical noise.
    moments = np.round(np.round(100 * (times - times[0]), 6)).astype(int)
    shown = [0]
    for frame, begin in enumerate(moments[:-1]):
        if min(begin - moments[shown[-1]], moments[-1] - begin) >= _GIF_SHORTEST:
            shown.append(frame)
    durations = np.diff(moments[shown], append=moments[-1])
    return shown, np.clip(durations, _GIF_SHORTEST, _GIF_LONGEST).tolist()


def _choose_palette(frames: np.ndarray) -> Image.Image:
    """Return an image with a palette for (F, H, W, 3) frames.

    Background, ink, the grey of masked tokens and the colour maps have fixed entries; Pillow chooses the rest.
    """
    steps = np.linspace(0, 255, _MAP_COLOURS).round().astype(int)
    kept = [np.array(_KEPT, dtype=np.uint8), *(colour_table(name)[steps] for name in (PROBABILITY_MAP, ERROR_MAP))]
    room = 256 - sum(map(len, kept))
    some = frames[np.unique(np.linspace(0, len(frames) - 1, _PALETTE_FRAMES).round().astype(int))]
    sample = Image.fromarray(rearrange(some, "f h w c -> (f h) w c"))
    found = np.array(sample.quantize(room, method=Image.Quantize.FASTOCTREE).getpalette(), np.uint8).reshape(-1, 3)
    # Pillow searches the nearest entry by six bits per colour, so fixed colours must not have near neighbours.
    for colour in kept[0]:
        found[np.abs(found.astype(int) - colour).max(axis=1) < _APART] = colour
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.concatenate([*kept, found]).tobytes())
    return palette


def mp4_bytes(frames: np.ndarray, times: np.ndarray) -> bytes:
    """Encode (F, H, W, 3) uint8 frames as an H.264 video.

    Args:
        frames: The frames.
        times: (F + 1,) seconds at which frames are shown and the last one ends. A constant frame rate close to an
            integer is rounded to it, such as 29.97; other times are kept.
    """
    steps = np.diff(times)
    rate = 1 / float(steps.mean())
    fps = max(round(round(rate, 6)), 1)
    kept = np.ptp(steps) > 1e-6 or abs(rate - fps) > _ROUNDED * fps
    return encode_h264(frames, fps=fps, gop=fps, crf=18, times=times if kept else None)
