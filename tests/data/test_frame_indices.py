"""Frame numbers against the golden tables, and against the stated rules walked step by step."""

import json
from pathlib import Path

import numpy as np
import pytest

from adamae.data.frame_indices import (
    pretrain_dense,
    spatial_starts,
    train_dense,
    train_segments,
    views_dense,
    views_segments,
)
from adamae.errors import UserError

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "adamae" / "golden_test_views.json").read_text())


def test_golden_dense_views() -> None:
    table = GOLDEN["dense_test"]
    for count, views in table["by_frame_count"].items():
        assert views_dense(int(count), table["clip_len"], table["rate"], table["segments"]).tolist() == views


def test_golden_segment_views() -> None:
    table = GOLDEN["segment_test"]
    for count, views in table["by_frame_count"].items():
        assert views_segments(int(count), table["frames"], table["segments"]).tolist() == views


def test_golden_spatial_starts() -> None:
    table = GOLDEN["spatial_test"]
    for sides, starts in table["by_resized_hw"].items():
        height, width = map(int, sides.split("x"))
        assert spatial_starts(max(height, width), min(height, width), table["crops"]) == starts


class _Fixed:
    """A generator that draws what the test says and remembers from how many."""

    def __init__(self, draw: int) -> None:
        self.draw = draw

    def integers(self, high: int) -> int:
        self.high = high
        return min(self.draw, high - 1)


@pytest.mark.parametrize("stride", [1, 2, 4, 7])
@pytest.mark.parametrize("length", [1, 8, 16])
def test_pretrain_dense_walks_as_the_rule_says(length: int, stride: int) -> None:
    for count in range(1, 401):
        for draw in (0, 5, 10**9):
            rng = _Fixed(draw)
            got = pretrain_dense(count, length, stride, rng).tolist()  # type: ignore[arg-type]
            assert rng.high == max(count - length * stride + 1, 1)
            place = min(draw, rng.high - 1) + 1  # counted from 1
            expected = []
            for _ in range(length):
                expected.append(place - 1)
                if place + stride < count:
                    place += stride
            assert got == expected


def test_pretrain_dense_by_hand() -> None:
    first = _Fixed(0)
    assert pretrain_dense(1, 4, 4, first).tolist() == [0, 0, 0, 0]  # type: ignore[arg-type]
    assert pretrain_dense(6, 4, 4, first).tolist() == [0, 4, 4, 4]  # type: ignore[arg-type]
    assert pretrain_dense(5, 4, 4, first).tolist() == [0, 0, 0, 0]  # type: ignore[arg-type]
    assert pretrain_dense(4, 4, 1, first).tolist() == [0, 1, 2, 2]  # type: ignore[arg-type]
    assert pretrain_dense(16, 4, 4, first).tolist() == [0, 4, 8, 12]  # type: ignore[arg-type]


def test_train_dense(rng: np.random.Generator) -> None:
    for count in range(1, 401):
        got = train_dense(count, 16, 4, rng)
        assert got.shape == (16,)
        assert got.min() >= 0
        assert got.max() < count
        assert (np.diff(got) >= 0).all()
        if count > 64:  # both ends of a window of 64, of which the last is pulled in by one
            assert got[-1] - got[0] == 63
            assert got[0] + 64 < count
        else:
            spread = [int(i * count / (count // 4 - 1)) if i else 0 for i in range(count // 4)]
            assert got.tolist() == [min(i, count - 1) for i in spread] + [count - 1] * (16 - count // 4)


def test_train_segments(rng: np.random.Generator) -> None:
    for count in range(1, 401):
        got = train_segments(count, 16, rng)
        stretch = count // 16
        if stretch:
            assert (got // stretch).tolist() == list(range(16))
        else:
            assert got.tolist() == [0] * 16
    drawn = {tuple(train_segments(48, 16, rng) % 3) for _ in range(20)}
    assert len(drawn) > 1


def test_views_lie_within_every_video() -> None:
    for count in range(1, 401):
        for views in (views_dense(count, 16, 4, 5), views_dense(count, 16, 4, 1), views_segments(count, 16, 2)):
            assert views.min() >= 0
            assert views.max() < count
        assert views_dense(count, 16, 4, 5)[0].tolist() == views_dense(count, 16, 4, 1)[0].tolist()


def test_segments_have_two_views() -> None:
    with pytest.raises(UserError, match="number of temporal test views is 3, expected 1 or 2"):
        views_segments(40, 16, 3)
