"""Films: panels side by side at the video's frame rate, as GIF and MP4."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from PIL import Image
from PIL.GifImagePlugin import getdata, getheader

from adamae.data.h264_encoder import encode_h264
from adamae.visualize.colours import ERROR_MAP, PROBABILITY_MAP, Scale, colour_table
from adamae.visualize.panels import MASKED_GREY
from adamae.visualize.picture_grid import FAINT, GAP, INK, PAPER, TITLE, PictureGrid, PictureRow, letter_lines
from adamae.visualize.rows import Block, DrawFrame, enlarged
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
_KEPT = (PAPER, INK, FAINT, (MASKED_GREY, MASKED_GREY, MASKED_GREY))
_APART = 8
# Largest relative difference of a frame rate from an integer to which it is rounded in an MP4: 24 / 1.001 is rounded.
_ROUNDED = 2e-3


@dataclass(frozen=True)
class Film:
    """Frames that are drawn one at a time, when they are read: all of a long film would not fit into memory.

    Encoders read it like an array (F, H, W, 3) uint8.

    Attributes:
        page: (H, W, 3) what all frames show.
        count: F.
        panels: Row and column slices of each panel, and its images.
    """

    page: np.ndarray
    count: int
    panels: tuple[tuple[tuple[slice, slice], DrawFrame], ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """(F, H, W, 3)."""
        return (self.count, *self.page.shape)

    def __len__(self) -> int:
        """Return the number of frames."""
        return self.count

    def __getitem__(self, number: int) -> np.ndarray:
        """Draw a frame, (H, W, 3)."""
        frame = self.page.copy()
        for place, image in self.panels:
            frame[place] = image(number)
        return frame

    def __iter__(self) -> Iterator[np.ndarray]:
        """Draw one frame after the other."""
        return map(self.__getitem__, range(self.count))


def side_by_side(
    video: VideoClips,
    blocks: Sequence[Block],
    scales: Sequence[Scale],
    notes: Sequence[str] = (),
    least_side: int = _PANEL,
) -> Film:
    """Lay out a film. Its frames are drawn when they are read.

    Args:
        video: The video.
        blocks: Panels of the reconstructions; each block is a row of panels.
        scales: Colour scales of the panels.
        notes: Further lines at the foot.
        least_side: Frames smaller than this are enlarged by an integer factor.

    Returns:
        A film with even height and width.
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
    count, width, top = len(video.frames), min(_STAMP, grid.width), grid.tops[0]
    # Drawn in advance, because matplotlib is not thread-safe and a film may be read by several threads.
    times = list(letter_lines(map(video.stamp, range(count)), width))
    panels = [
        (grid.image_slices(number, column), _enlarging(images, factor))
        for number, block in enumerate(blocks)
        for column, images in enumerate([video.frames.numpy().__getitem__, *(row.image for row in block.rows)])
    ]
    panels.append(((slice(top - TITLE, top), slice(grid.width - width, grid.width)), times.__getitem__))
    return Film(even, count, tuple(panels))


def _enlarging(draw: DrawFrame, factor: int) -> DrawFrame:
    return lambda frame: enlarged(draw(frame), factor)


def gif_bytes(frames: Film | np.ndarray, times: np.ndarray) -> bytes:
    """Encode an endless GIF.

    Args:
        frames: (F, H, W, 3) uint8, read one at a time.
        times: (F + 1,) seconds at which frames are shown and the last one ends. GIFs have a resolution of a hundredth
            of a second; rounding errors do not accumulate. A frame is shown for 0.02 to 655.35 seconds: of more than 50
            frames a second some are left out.
    """
    shown, hundredths = _gif_timing(times)
    palette = _choose_palette(frames)
    file = io.BytesIO()
    before: np.ndarray | None = None
    # Image.save would keep all frames until the last one is drawn.
    for number, duration in zip(shown, hundredths, strict=True):
        # Dithering would flicker.
        picture = Image.fromarray(frames[number]).quantize(palette=palette, dither=Image.Dither.NONE)
        colours = np.asarray(picture)
        if before is None:
            file.writelines(getheader(picture, info={"loop": 0})[0])
            box = (0, 0, *picture.size)
        else:
            # Only what changes; a frame that is equal to the one before has a pixel.
            box = Image.fromarray(colours != before).getbbox() or (0, 0, 1, 1)
        file.writelines(getdata(picture.crop(box), box[:2], duration=10 * duration))
        before = colours
    file.write(b";")
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


def _choose_palette(frames: Film | np.ndarray) -> Image.Image:
    """Return an image with a palette for (F, H, W, 3) frames.

    Background, ink, the grey of masked tokens and the colour maps have fixed entries; Pillow chooses the rest.
    """
    steps = np.linspace(0, 255, _MAP_COLOURS).round().astype(int)
    kept = [np.array(_KEPT, dtype=np.uint8), *(colour_table(name)[steps] for name in (PROBABILITY_MAP, ERROR_MAP))]
    room = 256 - sum(map(len, kept))
    some = np.unique(np.linspace(0, len(frames) - 1, _PALETTE_FRAMES).round().astype(int)).tolist()
    sample = Image.fromarray(np.concatenate([frames[number] for number in some]))
    found = np.array(sample.quantize(room, method=Image.Quantize.FASTOCTREE).getpalette(), np.uint8).reshape(-1, 3)
    # Pillow searches the nearest entry by six bits per colour, so fixed colours must not have near neighbours.
    for colour in kept[0]:
        found[np.abs(found.astype(int) - colour).max(axis=1) < _APART] = colour
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.concatenate([*kept, found]).tobytes())
    return palette


def mp4_bytes(frames: Film | np.ndarray, times: np.ndarray) -> bytes:
    """Encode (F, H, W, 3) uint8 frames as an H.264 video.

    Args:
        frames: The frames, read one at a time.
        times: (F + 1,) seconds at which frames are shown and the last one ends. A constant frame rate close to an
            integer is rounded to it, such as 29.97; other times are kept.
    """
    steps = np.diff(times)
    rate = 1 / float(steps.mean())
    fps = max(round(round(rate, 6)), 1)
    kept = np.ptp(steps) > 1e-6 or abs(rate - fps) > _ROUNDED * fps
    return encode_h264(frames, fps=fps, gop=fps, crf=18, times=times if kept else None)
