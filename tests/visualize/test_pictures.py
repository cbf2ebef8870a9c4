"""Colours, contact sheets and films."""

from __future__ import annotations

import io
import tracemalloc
import warnings
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import av
import numpy as np
import pytest
import torch
from matplotlib.font_manager import findfont
from matplotlib.ft2font import FT2Font
from PIL import Image

from adamae.visualize import picture_grid
from adamae.visualize.colours import Scale, colour_table
from adamae.visualize.film import gif_bytes, mp4_bytes, side_by_side
from adamae.visualize.panels import MASKED_GREY
from adamae.visualize.picture_grid import (
    GAP,
    HEAD,
    PAPER,
    TITLE,
    PictureGrid,
    PictureRow,
    broken,
    font_families,
    width_of,
)
from adamae.visualize.reconstruction import Reconstruction, Variant, reconstruct
from adamae.visualize.rows import Block, Scales, blocks_of, notes_of, shared_scales, title_of, worse_than_trivial
from adamae.visualize.sheet import contact_sheets
from adamae.visualize.video_clips import VideoClips
from tests.visualize.scenes import on_pixels, tiny_model, video_clips


@pytest.fixture(scope="module")
def results() -> list[Reconstruction]:
    model = tiny_model()
    return [reconstruct(model, video_clips(), Variant(mask_type, 0.5)) for mask_type in ("learnable", "random")]


def drawn(results: list[Reconstruction]) -> tuple[VideoClips, list[Block], list[Scale]]:
    scales = shared_scales(results)
    return video_clips(), blocks_of(video_clips(), results, scales), scales.shown


def gif_durations(content: bytes) -> list[int]:
    """Milliseconds of each frame."""
    with Image.open(io.BytesIO(content)) as gif:
        durations = []
        for number in range(gif.n_frames):
            gif.seek(number)
            durations.append(gif.info.get("duration", 0))
    return durations


def panel_top(block: int) -> int:
    """Where the panels of a film's block begin: below the names of columns and the block's title."""
    return HEAD + TITLE + block * (16 + GAP + TITLE)


def test_a_scale_covers_all_and_tells_what_it_leaves_out() -> None:
    values = torch.cat([torch.linspace(0, 1, 1000), torch.tensor([torch.nan])])
    scale = Scale.over("x", "viridis", [values, values / 2])
    # Of 2000 numbers ten may lie beyond.
    assert (scale.high, scale.clipped, scale.end) == (0.99, True, "0.99 and more")
    assert Scale.over("x", "viridis", [values], least=2.0).end == "2"
    assert Scale.over("x", "magma", [torch.tensor([torch.nan])]).high == 1
    painted = Scale("x", 2.0, False, "viridis").paint(np.array([0, 1, 2, 9, np.nan]))
    table = colour_table("viridis")
    assert painted.tolist() == [*table[[0, 128, 255, 255]].tolist(), [MASKED_GREY] * 3]


def test_what_is_compared_has_one_scale(results: list[Reconstruction]) -> None:
    scales = shared_scales(results)
    assert scales.probability.high >= 2
    highest = max(float(result.panels.error.nan_to_num(0).max()) for result in results)
    assert scales.error.high == pytest.approx(highest, rel=0.1)


def test_titles_tell_draws_apart_only_where_there_are_several() -> None:
    model = tiny_model()
    one, two = (reconstruct(model, video_clips(), Variant("learnable", 0.75, seed)) for seed in range(2))
    assert str(title_of(one, [one])) == "adaptive, 75 % masked"
    assert str(title_of(two, [one, two])) == "adaptive, 75 % masked, seed 1"


@pytest.mark.parametrize(
    ("mask_type", "mask_ratio", "told"),
    [
        ("frame", 0.9, "frame, 75 % masked (90 % requested)"),
        ("frame", 0.75, "frame, 75 % masked"),
        ("tube", 0.9, "tube, 75 % masked (90 % requested)"),
        # Sixteen tokens: 14 of them are 87.5 %, as near as whole tokens come.
        ("random", 0.9, "random, 90 % masked"),
        ("learnable", 0.9, "adaptive, 90 % masked"),
    ],
)
def test_titles_tell_what_is_really_masked(mask_type: str, mask_ratio: float, told: str) -> None:
    model, film = tiny_model(num_frames=8), video_clips(frames=20)
    numbers = np.arange(8)[None]
    film = replace(film, cut=replace(film.cut, frames=numbers, window=np.zeros(1, dtype=int)))
    result = reconstruct(model, film, Variant(mask_type, mask_ratio))
    assert str(title_of(result, [result])) == told


def test_a_page_is_as_wide_as_its_titles() -> None:
    title = "adaptive uniform, 75 % masked"
    grid = PictureGrid(("",), (PictureRow(title),), 16, 40)
    assert grid.width >= 40 + width_of(title)
    # Nothing is cut off.
    assert (grid.draw({})[:, -GAP:] == PAPER).all()


def test_masks_that_prefer_nothing_have_no_probability(results: list[Reconstruction]) -> None:
    scales = shared_scales(results)
    adaptive, random = blocks_of(video_clips(), results, scales)
    names = ["visible tokens", "prediction", "error", "probability"]
    assert [row.name for row in adaptive.rows] == names
    assert [row.name for row in random.rows] == names[:-1]
    alone = shared_scales(results[1:])
    assert alone == Scales(alone.error, None)
    assert alone.shown == [alone.error]
    # In a film, whichever comes first, the column is named and the place of what does not exist stays paper.
    for order in (results, results[::-1]):
        film, blocks, shown = drawn(order)
        frames = np.stack([*side_by_side(film, blocks, shown, least_side=16)])
        column, empty = GAP + 4 * (16 + GAP), order.index(results[1])
        for number in range(2):
            y = panel_top(number)
            place = frames[:, y : y + 16, column : column + 16]
            assert bool((place == PAPER).all()) == (number == empty)
    assert side_by_side(*drawn(results[1:]), least_side=64).shape[2] == 4 * (64 + GAP) + 2 * GAP


def test_a_network_that_is_worse_than_the_trivial_predictor_is_named(results: list[Reconstruction]) -> None:
    good = replace(results[0], statistics={**results[0].statistics, "target_error": 0.0055, "trivial_error": 0.0056})
    bad = replace(results[1], statistics={**results[1].statistics, "target_error": 0.0057, "trivial_error": 0.0056})
    assert worse_than_trivial([good]) == []
    (sentence,) = worse_than_trivial([good, bad])
    assert sentence.startswith("random, 50 % masked: the error of the model, 0.0057, is not below that of the trivial")
    assert sentence in notes_of([good, bad])


def test_the_film_shows_each_frame_at_its_time(results: list[Reconstruction]) -> None:
    film = video_clips()
    frames = np.stack([*side_by_side(*drawn(results), least_side=16)])
    assert len(frames) == 10
    assert frames.shape[1] % 2 == frames.shape[2] % 2 == 0
    # The video is the first panel, 16 pixels wide behind a gap; visible tokens are the second.
    first, second = panel_top(0), panel_top(1)
    left = GAP + 16 + GAP
    assert np.array_equal(frames[:, first : first + 16, GAP : GAP + 16], film.frames.numpy())
    for result, top in zip(results, (first, second), strict=True):
        seen = film.in_time(result.panels.seen).numpy()
        assert np.array_equal(frames[:, top : top + 16, left : left + 16], seen)
    for block, result in zip(drawn(results)[1], results, strict=True):
        error = film.in_time(on_pixels(result.panels.error, result.panels.grid)).numpy()
        image = np.stack([block.rows[2].image(frame) for frame in range(10)])
        assert np.array_equal(image, shared_scales(results).error.paint(error))
    # Where the time stands each frame differs from the one before.
    stamps = frames[:, first - TITLE : first]
    assert all((before != after).any() for before, after in pairwise(stamps))


def test_a_long_film_is_drawn_and_encoded_frame_by_frame() -> None:
    clip, model = video_clips(frames=4, size=64), tiny_model(img_size=64)
    results = [reconstruct(model, clip, Variant(mask_type, 0.5)) for mask_type in ("learnable", "random")]
    scales = shared_scales(results)
    # The same clip again and again.
    count = 400
    film = replace(
        clip,
        frames=clip.frames[:1].expand(count, -1, -1, -1),
        times=np.arange(count + 1) / 50,
        cut=replace(clip.cut, clip=np.zeros(count, int), position=np.arange(count) % 4),
    )
    frames = side_by_side(film, blocks_of(film, results, scales), scales.shown, least_side=64)
    tracemalloc.start()
    try:
        made = gif_bytes(frames, film.times), mp4_bytes(frames, film.times)
        peak = tracemalloc.get_traced_memory()[1] - sum(map(len, made))
    finally:
        tracemalloc.stop()
    assert len(gif_durations(made[0])) == len(frames) == count
    # The sample of frames for the palette is the largest part.
    assert peak < 40 * frames[0].nbytes < np.prod(frames.shape) / 9


def test_small_frames_are_enlarged_without_smoothing(results: list[Reconstruction]) -> None:
    frames = side_by_side(*drawn(results[:1]), least_side=40)
    corner = frames[0][panel_top(0) : panel_top(0) + 3, GAP : GAP + 3]
    assert (corner == corner[0, 0]).all()


def test_the_sheet_shows_the_first_and_the_last_frame(results: list[Reconstruction]) -> None:
    (image,) = contact_sheets(*drawn(results), columns=3)
    first, last = video_clips().frames[[0, 9]].numpy().repeat(7, axis=1).repeat(7, axis=2)
    width = image.shape[1]
    assert np.array_equal(image[26 : 26 + 112, width - 118 : width - 6], last)
    start = width - 3 - 3 * 115
    assert np.array_equal(image[26 : 26 + 112, start : start + 112], first)


@pytest.mark.slow
def test_large_sheets_are_cut_into_pages(results: list[Reconstruction]) -> None:
    # Each frame is 115 pixels wide with its gap: in 700 there is room for five, and for one variant.
    many = results * 2
    pages = contact_sheets(*drawn(many), columns=10, most=700)
    assert len(pages) == 2 * 4
    assert max(max(page.shape[:2]) for page in pages) <= 700
    # Pages of one size: each variant with the first five frames, then with the others, below the video.
    shown = video_clips().frames.numpy().repeat(7, axis=1).repeat(7, axis=2)
    for page, numbers in zip(pages[::4], (range(5), range(5, 10)), strict=True):
        left = page.shape[1] - 3 - 115 * len(numbers)
        for column, number in enumerate(numbers):
            x = left + 115 * column
            assert np.array_equal(page[26 : 26 + 112, x : x + 112], shown[number])
    # However small, a page has a frame and a variant.
    assert len(contact_sheets(*drawn(results), columns=2, most=10)) == 2 * 2
    assert len(contact_sheets(*drawn(many), columns=10)) == 1


def test_a_page_is_as_large_as_its_grid_says_and_nothing_is_resampled() -> None:
    pixels = torch.randint(256, (3, 48, 48, 3), dtype=torch.uint8).numpy()
    scales = (Scale("a long name of what the numbers are", 2.0, True, "viridis"), Scale("other", 1.0, False, "magma"))
    rows = (PictureRow("a title", "one"), PictureRow("", "two"))
    grid = PictureGrid(("0.0 s", "$1_2$"), rows, 48, 60, scales, ("a note " * 20,))
    page = grid.draw({(0, 0): pixels[0], (0, 1): pixels[1], (1, 1): pixels[2]})
    assert page.shape == (grid.height, grid.width, 3)
    for place, picture in zip(((0, 0), (0, 1), (1, 1)), pixels, strict=True):
        assert np.array_equal(page[grid.image_slices(*place)], picture)
    assert (page[grid.image_slices(1, 0)] == PAPER).all()
    # Both bars are there, one below the other where there is no room beside it.
    (x, one), (same, other) = grid._bars
    assert x == same and other > one
    for scale, y in zip(scales, (one, other), strict=True):
        bar = page[grid._foot + y + 18 : grid._foot + y + 28, x : x + 120]
        assert np.abs(bar[5, [2, -3]].astype(int) - colour_table(scale.colours)[[4, 251]]).max() < 12


def test_notes_are_broken_into_lines_that_fit() -> None:
    lines = broken("one two three four five six seven", 80)
    assert " ".join(lines) == "one two three four five six seven"
    assert len(lines) > 2 and all(width_of(line) <= 80 for line in lines)
    assert broken("W" * 50, 80) == ["W" * 50]


@pytest.fixture
def fresh_fonts() -> Iterator[None]:
    font_families.cache_clear()
    yield
    font_families.cache_clear()


@pytest.mark.usefixtures("fresh_fonts")
def test_letters_of_other_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    def letters(family: str) -> set[int]:
        return set(FT2Font(findfont(family, fallback_to_default=False)).get_charmap())

    def drawn_text(text: str) -> np.ndarray:
        return PictureGrid((), (PictureRow(text),), 16, 40).draw({})

    monkeypatch.setattr(picture_grid, "FALLBACKS", ("a font that is not installed",))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        box = drawn_text("視")
        # A font that comes with matplotlib stands for one with such letters.
        letter, other = map(chr, sorted(letters("STIXNonUnicode") - letters("DejaVu Sans"))[:2])
        assert np.array_equal(drawn_text(letter), drawn_text(other))
        monkeypatch.setattr(picture_grid, "FALLBACKS", ("STIXNonUnicode",))
        font_families.cache_clear()
        assert not np.array_equal(drawn_text(letter), drawn_text(other))
        assert np.array_equal(drawn_text("視"), box)


def test_a_frame_that_a_gif_cannot_show_for_so_long() -> None:
    frames = np.zeros((3, 8, 8, 3), np.uint8)
    frames[1] = 255
    assert gif_durations(gif_bytes(frames, np.array([0, 1000, 1000.5, 1001.5]))) == [655_350, 500, 1000]


@pytest.mark.parametrize("rate", [24, 50, 60, 100, 120, 240])
def test_a_gif_has_no_frame_that_browsers_slow_down(rate: int) -> None:
    frames = np.zeros((30, 8, 8, 3), np.uint8)
    # Each frame has one white pixel at another place.
    frames.reshape(30, 64, 3)[range(30), range(30)] = 255
    times = np.arange(31) / rate
    durations = gif_durations(gif_bytes(frames, times))
    assert min(durations) >= 20
    assert sum(durations) == pytest.approx(1000 * times[-1], abs=5)
    # No more are left out than must be: the next frame begins within two hundredths of a second and one frame.
    assert len(durations) == 30 if rate <= 50 else max(durations[:-1]) <= 20 + 10 * np.ceil(100 / rate)


def test_a_gif_of_less_than_two_hundredths_of_a_second_has_one_frame() -> None:
    frames = np.zeros((3, 8, 8, 3), np.uint8)
    frames[1] = 255
    assert len(gif_durations(gif_bytes(frames, np.arange(4) / 1000))) == 1


def test_films_keep_the_number_of_frames_and_the_pace(results: list[Reconstruction]) -> None:
    frames = np.stack([*side_by_side(*drawn(results), least_side=16)])
    durations = gif_durations(gif_bytes(frames, np.arange(len(frames) + 1) / 30))
    assert len(durations) == 10
    assert sum(durations) == 330
    with Image.open(io.BytesIO(gif_bytes(frames, np.arange(len(frames) + 1) / 30))) as gif:
        gif.seek(4)
        colours = np.asarray(gif.convert("RGB")).astype(int)
    # Two hundred and fifty-six colours come near enough; paper and what is hidden are exact.
    assert np.abs(colours - frames[4]).mean() < 4
    for kept in (255, MASKED_GREY):
        assert (colours[(frames[4] == kept).all(axis=-1)] == kept).all()
    with av.open(io.BytesIO(mp4_bytes(frames, np.arange(len(frames) + 1) / 10))) as file:
        stream = file.streams.video[0]
        assert stream.average_rate == 10
        decoded = [frame.to_ndarray(format="rgb24") for frame in file.decode(stream)]
    assert len(decoded) == 10
    assert np.abs(decoded[3].astype(int) - frames[3]).mean() < 6


@pytest.mark.parametrize("rate", [0.4, 0.5, 1.5, 2.5, 7.5, 12.5, 24 / 1.001, 30 / 1.001, 25])
def test_films_of_any_frame_rate_have_the_duration_of_the_video(rate: float) -> None:
    frames = np.zeros((9, 16, 16, 3), np.uint8)
    times = np.arange(len(frames) + 1) / rate
    with av.open(io.BytesIO(mp4_bytes(frames, times))) as file:
        stream = file.streams.video[0]
        assert stream.time_base is not None and stream.duration is not None
        assert float(stream.duration * stream.time_base) == pytest.approx(times[-1], rel=2e-3)


def test_films_name_what_each_block_shows() -> None:
    film = video_clips()
    model = tiny_model(mask_type="motion", keep_ratio=0.75, mask_ratio=0.6)
    results = [
        reconstruct(tiny_model(), film, Variant("learnable", 0.75)),
        reconstruct(model, film, Variant("motion", 0.6)),
    ]
    blocks = blocks_of(film, results, shared_scales(results))
    named: list[tuple[str, ...]] = []

    class Watched(PictureGrid):
        def __init__(self, columns: tuple[str, ...], *others: object) -> None:
            named.append(columns)
            super().__init__(columns, *others)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("adamae.visualize.film.PictureGrid", Watched)
        side_by_side(film, blocks, [], least_side=16)
        side_by_side(film, blocks[1:], [], least_side=16)
    assert [columns[-1] for columns in named] == ["probability / motion score", "motion score"]
    assert named[0][:-1] == (film.noun, "visible tokens", "prediction", "error")
