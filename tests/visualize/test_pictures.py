"""Colours, contact sheets and films."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest
import torch
from PIL import Image

from adamae.visualize.colours import Scale, colour_table
from adamae.visualize.film import gif_bytes, mp4_bytes, side_by_side
from adamae.visualize.footage import Footage
from adamae.visualize.looks import Look, Variant, look_at
from adamae.visualize.panels import HIDDEN
from adamae.visualize.rows import Block, blocks_of, shared_scales, title_of
from adamae.visualize.sheet import contact_sheet
from tests.visualize.scenes import footage, tiny_model


@pytest.fixture(scope="module")
def looks() -> list[Look]:
    model = tiny_model()
    return [look_at(model, footage(), Variant(mask_type, 0.5)) for mask_type in ("learnable", "random")]


def drawn(looks: list[Look]) -> tuple[Footage, list[Block], tuple[Scale, Scale]]:
    scales = shared_scales(looks)
    return footage(), blocks_of(footage(), looks, scales), scales


def test_a_scale_covers_all_and_tells_what_it_leaves_out() -> None:
    values = torch.cat([torch.linspace(0, 1, 1000), torch.tensor([torch.nan])])
    scale = Scale.over("x", "viridis", [values, values / 2])
    # Of 2000 numbers ten may lie beyond.
    assert (scale.high, scale.clipped, scale.end) == (0.99, True, "0.99 and more")
    assert Scale.over("x", "viridis", [values], least=2.0).end == "2"
    assert Scale.over("x", "magma", [torch.tensor([torch.nan])]).high == 1
    painted = Scale("x", 2.0, False, "viridis").paint(np.array([0, 1, 2, 9, np.nan]))
    table = colour_table("viridis")
    assert painted.tolist() == [*table[[0, 128, 255, 255]].tolist(), [HIDDEN] * 3]


def test_what_is_compared_has_one_scale(looks: list[Look]) -> None:
    probability, error = shared_scales(looks)
    assert probability.high >= 2
    highest = max(float(look.panels.error.nan_to_num(0).max()) for look in looks)
    assert error.high == pytest.approx(highest, rel=0.1)


def test_titles_tell_draws_apart_only_where_there_are_several() -> None:
    one, two = Variant("learnable", 0.925), Variant("learnable", 0.925, 1)
    assert title_of(one, [one]) == "adaptive, 92.5 % hidden"
    assert title_of(two, [one, two]) == "adaptive, 92.5 % hidden, draw 1"


def test_the_film_shows_each_frame_at_its_time(looks: list[Look]) -> None:
    film = footage()
    frames = side_by_side(*drawn(looks), least_side=16)
    assert len(frames) == 10
    assert frames.shape[1] % 2 == frames.shape[2] % 2 == 0
    # The video is the first panel, 16 pixels wide behind a gap of four; visible tokens are the second.
    assert np.array_equal(frames[:, 22:38, 4:20], film.frames.numpy())
    seen = film.in_time(looks[0].panels.seen).numpy()
    assert np.array_equal(frames[:, 22:38, 24:40], seen)
    second = 22 + 16 + 20 + 4
    assert np.array_equal(frames[:, second : second + 16, 24:40], film.in_time(looks[1].panels.seen).numpy())


def test_small_frames_are_enlarged_without_smoothing(looks: list[Look]) -> None:
    frames = side_by_side(*drawn(looks[:1]), least_side=40)
    corner = frames[0, 22:25, 4:7]
    assert (corner == corner[0, 0]).all()


def test_the_sheet_shows_the_first_and_the_last_frame(looks: list[Look]) -> None:
    image = np.asarray(contact_sheet(*drawn(looks), columns=3))
    first, last = footage().frames[[0, 9]].numpy().repeat(7, axis=1).repeat(7, axis=2)
    width = image.shape[1]
    assert np.array_equal(image[26 : 26 + 112, width - 118 : width - 6], last)
    start = width - 3 - 3 * 115
    assert np.array_equal(image[26 : 26 + 112, start : start + 112], first)


def test_films_keep_the_number_of_frames_and_the_pace(looks: list[Look]) -> None:
    frames = side_by_side(*drawn(looks), least_side=16)
    with Image.open(io.BytesIO(gif_bytes(frames, 30))) as gif:
        durations = []
        for number in range(gif.n_frames):
            gif.seek(number)
            durations.append(gif.info["duration"])
    assert len(durations) == 10
    assert sum(durations) == 330
    with Image.open(io.BytesIO(gif_bytes(frames, 30))) as gif:
        gif.seek(4)
        colours = np.asarray(gif.convert("RGB")).astype(int)
    # Two hundred and fifty-six colours come near enough; paper and what is hidden are exact.
    assert np.abs(colours - frames[4]).mean() < 4
    for kept in (255, HIDDEN):
        assert (colours[(frames[4] == kept).all(axis=-1)] == kept).all()
    with av.open(io.BytesIO(mp4_bytes(frames, 10))) as file:
        stream = file.streams.video[0]
        assert stream.average_rate == 10
        decoded = [frame.to_ndarray(format="rgb24") for frame in file.decode(stream)]
    assert len(decoded) == 10
    assert np.abs(decoded[3].astype(int) - frames[3]).mean() < 6
