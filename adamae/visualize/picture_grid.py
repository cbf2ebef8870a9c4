"""Pages of square images in rows and columns, with labels, colour bars and notes drawn by matplotlib."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np

from adamae.visualize.colours import Scale

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER = (255, 255, 255)
INK = (32, 32, 32)
FAINT = (110, 110, 110)
GAP = 3
SIZE = 12
# Heights of the column labels, of a title and of a line of notes.
HEAD, TITLE, LINE = 26, 22, 18
_MARGIN = 8
# Size of a colour bar, and its height including its label and the numbers at its ends.
_BAR, _BAR_HEIGHT = (120, 10), 46
# One point is one pixel.
_DPI = 72
# Fonts with Chinese, Japanese and Korean letters, which matplotlib's own font lacks; those that are installed are used.
FALLBACKS = (
    *(f"Noto Sans CJK {region}" for region in ("SC", "TC", "JP", "KR")),
    *(
        "Source Han Sans",
        "WenQuanYi Zen Hei",
        "WenQuanYi Micro Hei",
        "IPAexGothic",
        "Droid Sans Fallback",
        "NanumGothic",
    ),
    *("PingFang SC", "PingFang HK", "Hiragino Sans", "Apple SD Gothic Neo", "Arial Unicode MS"),
    *("Microsoft YaHei", "Microsoft JhengHei", "Yu Gothic", "MS Gothic", "Malgun Gothic", "SimHei"),
)


@dataclass(frozen=True)
class PictureRow:
    """Labels of a row of images.

    Attributes:
        title: Title above the row; empty for none.
        name: Label to the left of the row.
    """

    title: str = ""
    name: str = ""


@dataclass(frozen=True)
class PictureGrid:
    """Layout of a page, in pixels.

    Attributes:
        columns: Labels above the columns.
        rows: The rows from top to bottom.
        side: Height and width of an image.
        left: Left edge of the first column; row labels end before it.
        scales: Colour scales of the legend.
        notes: Sentences at the foot of the page.
    """

    columns: tuple[str, ...]
    rows: tuple[PictureRow, ...]
    side: int
    left: int
    scales: tuple[Scale, ...] = ()
    notes: tuple[str, ...] = ()

    @cached_property
    def width(self) -> int:
        """Width of the page: that of its columns or of its longest title."""
        titles = (self.left + width_of(row.title, "bold") + _MARGIN for row in self.rows if row.title.strip())
        return max(self.left + len(self.columns) * (self.side + GAP) + GAP, *titles, 0)

    @property
    def height(self) -> int:
        """Height of the page."""
        return self._foot + self.foot_height

    @cached_property
    def tops(self) -> list[int]:
        """Top edges of the images of each row."""
        heads = np.array([TITLE if row.title else 0 for row in self.rows])
        tops: list[int] = (HEAD + heads.cumsum() + np.arange(len(heads)) * (self.side + GAP)).tolist()
        return tops

    def image_slices(self, row: int, column: int) -> tuple[slice, slice]:
        """Return the pixel rows and columns of an image."""
        y, x = self.tops[row], self.left + column * (self.side + GAP)
        return slice(y, y + self.side), slice(x, x + self.side)

    @property
    def foot_height(self) -> int:
        """Height of colour bars and notes; depends only on the width of the page."""
        bars = self._bars
        return (bars[-1][1] + _BAR_HEIGHT if bars else 0) + len(self._lines) * LINE + _MARGIN

    @property
    def _foot(self) -> int:
        return self.tops[-1] + self.side + GAP if self.rows else HEAD

    @cached_property
    def _bars(self) -> list[tuple[int, int]]:
        """Positions of the colour bars' labels within the foot: side by side as long as they fit."""
        places, x, y = [], _MARGIN, 0
        for scale in self.scales:
            needed = max(width_of(scale.what), _BAR[0] + width_of(scale.end)) + 2 * _MARGIN
            if x > _MARGIN and x + needed > self.width:
                x, y = _MARGIN, y + _BAR_HEIGHT
            places.append((x, y))
            x += needed
        return places

    @cached_property
    def _lines(self) -> list[str]:
        return [line for note in self.notes for line in broken(note, self.width - 2 * _MARGIN)]

    def draw(self, pictures: dict[tuple[int, int], np.ndarray]) -> np.ndarray:
        """Draw the page.

        Args:
            pictures: (side, side, 3) uint8 images by row and column; missing ones stay blank.

        Returns:
            (height, width, 3) uint8.
        """
        page = np.full((self.height, self.width, 3), PAPER, np.uint8)
        for (row, column), picture in pictures.items():
            page[self.image_slices(row, column)] = picture
        return self._lettered(page)

    def _lettered(self, page: np.ndarray) -> np.ndarray:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure((self.width / _DPI, self.height / _DPI), dpi=_DPI)
        canvas = FigureCanvasAgg(figure)
        figure.figimage(page, zorder=-1)
        for column, name in enumerate(self.columns):
            middle = self.left + column * (self.side + GAP) + self.side // 2
            self._write(figure, middle, HEAD // 2, name, ha="center")
        for row, top in zip(self.rows, self.tops, strict=True):
            self._write(figure, self.left, top - TITLE // 2, row.title, weight="bold")
            self._write(figure, self.left - GAP - 4, top + self.side // 2, row.name, ha="right")
        for scale, (x, y) in zip(self.scales, self._bars, strict=True):
            self._draw_bar(figure, scale, x, self._foot + y)
        below = self.height - _MARGIN - len(self._lines) * LINE
        for number, line in enumerate(self._lines):
            self._write(figure, _MARGIN, below + number * LINE + LINE // 2, line, FAINT)
        with without_glyph_warnings():
            canvas.draw()
        return np.array(canvas.buffer_rgba())[..., :3]

    def _write(
        self,
        figure: Figure,
        x: float,
        y: float,
        text: str,
        ink: tuple[int, int, int] = INK,
        ha: str = "left",
        weight: str = "normal",
    ) -> None:
        """Write a line of text that is vertically centred at ``y``."""
        position = x / self.width, 1 - y / self.height
        words = figure.text(*position, text, color=_shade(ink), size=SIZE, ha=ha, va="center_baseline", weight=weight)
        words.set_fontfamily(font_families())
        # A dollar sign in a file's name must not start a formula.
        words.set_parse_math(False)

    def _draw_bar(self, figure: Figure, scale: Scale, x: int, y: int) -> None:
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        self._write(figure, x, y + LINE // 2, scale.what)
        bottom = 1 - (y + LINE + _BAR[1]) / self.height
        axes = figure.add_axes((x / self.width, bottom, _BAR[0] / self.width, _BAR[1] / self.height))
        colours = ScalarMappable(Normalize(0, scale.high), scale.colours)
        bar = figure.colorbar(colours, cax=axes, orientation="horizontal", ticks=[0, scale.high])
        bar.outline.set_visible(False)
        axes.set_xticks([0, scale.high], ["0", scale.end], color=_shade(FAINT), size=SIZE)
        axes.tick_params(length=0, pad=2)


def letter_lines(texts: Iterable[str], width: int) -> Iterator[np.ndarray]:
    """Yield right-aligned lines of text as images (TITLE, width, 3) uint8."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width / _DPI, TITLE / _DPI), dpi=_DPI)
    canvas = FigureCanvasAgg(figure)
    line = figure.text(1 - 4 / width, 0.5, "", color=_shade(FAINT), size=SIZE, ha="right", va="center_baseline")
    for text in texts:
        line.set_text(text)
        canvas.draw()
        yield np.array(canvas.buffer_rgba())[..., :3]


def _shade(ink: tuple[int, int, int]) -> tuple[float, ...]:
    """Return a colour in matplotlib's format."""
    return tuple(part / 255 for part in ink)


def left_of(names: Sequence[str]) -> int:
    """Return the left edge of the first column, to the right of the row labels."""
    return 4 * GAP + max(map(width_of, names))


def width_of(text: str, weight: str = "normal") -> int:
    """Return the width of a line of text in pixels."""
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.font_manager import FontProperties

    font = FontProperties(family=font_families(), size=SIZE, weight=weight)
    with without_glyph_warnings():
        width, _, _ = RendererAgg(1, 1, _DPI).get_text_width_height_descent(text, font, False)
    return int(np.ceil(width))


@cache
def font_families() -> list[str]:
    """Return the fonts of texts: a letter is in the first that has it."""
    from matplotlib.font_manager import fontManager

    installed = set(fontManager.get_font_names())
    return ["sans-serif", *(name for name in FALLBACKS if name in installed)]


@contextmanager
def without_glyph_warnings() -> Iterator[None]:
    """Silence matplotlib's warning for each letter that no font has; the picture shows a box instead."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        yield


def broken(text: str, width: int) -> list[str]:
    """Wrap a text to lines of at most ``width`` pixels."""
    lines: list[str] = []
    for word in text.split():
        if lines and width_of(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
