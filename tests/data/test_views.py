"""Views: frame numbers by the stated rules walked step by step, squares, pixels, and one decode against many."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adamae.data.annotations import Annotations
from adamae.data.decoding import get_decoder
from adamae.data.frame_indices import train_dense, train_segments
from adamae.data.views import VideoViews, ViewPlan, cut_views, plan_test, plan_validation, resize_short_side
from adamae.errors import UserError
from adamae.randomness import sample_generator

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "adamae" / "golden_test_views.json").read_text())
UNUSED = np.random.default_rng(0)


def plan(**options: Any) -> ViewPlan:
    return plan_test(**{"num_frames": 16, "sampling_rate": 4, "size": 224, **options})


def dense_by_rule(count: int, length: int, stride: int, views: int) -> list[list[int]]:
    """Every stride-th frame from 0, the last repeated up to the length; starts spread evenly, rounded down."""
    frames = []
    frame = 0
    while frame < count:
        frames.append(frame)
        frame += stride
    while len(frames) < length:
        frames.append(frames[-1])
    result = []
    for view in range(views):
        free = (len(frames) - length) / (views - 1)
        start = int(view * free) if free > 0 else 0
        result.append([frames[start + place] for place in range(length)])
    return result


def segments_by_rule(count: int, length: int) -> list[list[int]]:
    """Twice as many ticks as frames, sorted; the views take turns."""
    ticks = []
    for place in range(length):
        ticks.append(int(count / length * place))
        ticks.append(int(count / length / 2 + count / length * place))
    ticks.sort()
    return [[tick for place, tick in enumerate(ticks) if place % 2 == view] for view in (0, 1)]


def test_golden_tables() -> None:
    for count, views in GOLDEN["dense_test"]["by_frame_count"].items():
        assert plan(num_clips=5).choose(int(count), UNUSED).tolist() == views
    for count, views in GOLDEN["segment_test"]["by_frame_count"].items():
        assert plan(frame_sampling="segment").choose(int(count), UNUSED).tolist() == views
    for sides, starts in GOLDEN["spatial_test"]["by_resized_hw"].items():
        height, width = map(int, sides.split("x"))
        boxes = plan().boxes(height, width)
        assert [box.left if width >= height else box.top for box in boxes] == starts
        assert all((box.height, box.width) == (224, 224) for box in boxes)
        assert all((box.top if width >= height else box.left) == 0 for box in boxes)


@pytest.mark.parametrize(("length", "stride", "views"), [(16, 4, 5), (16, 2, 2), (8, 8, 4), (32, 1, 10)])
def test_dense_views_of_all_frame_counts(length: int, stride: int, views: int) -> None:
    chosen = plan(num_frames=length, sampling_rate=stride, num_clips=views)
    for count in range(1, 401):
        assert chosen.choose(count, UNUSED).tolist() == dense_by_rule(count, length, stride, views)


@pytest.mark.parametrize("length", [8, 16, 32])
def test_segment_views_of_all_frame_counts(length: int) -> None:
    chosen = plan(num_frames=length, frame_sampling="segment")
    for count in range(1, 401):
        assert chosen.choose(count, UNUSED).tolist() == segments_by_rule(count, length)


def test_validation_plans_draw_as_training_does() -> None:
    dense = plan_validation(num_frames=16, sampling_rate=4, size=224)
    segment = plan_validation(num_frames=16, sampling_rate=4, size=224, frame_sampling="segment")
    for count in range(1, 401):
        row = count % 7
        first = dense.choose(count, sample_generator(3, 0, row))
        assert first.tolist() == [train_dense(count, 16, 4, sample_generator(3, 0, row)).tolist()]
        got = segment.choose(count, sample_generator(3, 0, row))
        assert got.tolist() == [train_segments(count, 16, sample_generator(3, 0, row)).tolist()]
        assert first.min() >= 0 and max(first.max(), got.max()) < count
    starts = {int(dense.choose(400, sample_generator(3, 0, row))[0, 0]) for row in range(20)}
    assert len(starts) > 10


def test_a_validation_clip_follows_from_the_seed_and_the_row(videos: Path) -> None:
    path = str(videos / "a" / "0.mp4")
    with get_decoder("pyav")(path) as video:
        whole = video.read(range(40))
    plan = plan_validation(num_frames=4, sampling_rate=2, size=48)
    starts = []
    for seed in (0, 3):
        dataset = VideoViews(Annotations.of([path] * 6), plan, seed=seed)
        for row in range(6):
            frames = train_dense(40, 4, 2, sample_generator(seed, 0, row))
            # Of 48 x 64 pixels the middle square.
            assert np.array_equal(dataset.read(row)[0], whole[None, frames, :, 8:56])
            assert np.array_equal(dataset.read(row)[0], dataset.read(row)[0])
            starts.append(int(frames[0]))
    assert len(set(starts[:6])) > 3
    assert starts[:6] != starts[6:]


def test_single_views_lie_in_the_middle() -> None:
    one = plan(num_clips=1, num_crops=1)
    assert one.choose(400, UNUSED).tolist() == [list(range(168, 232, 4))]
    assert one.choose(10, UNUSED).tolist() == [[0, 4, *[8] * 14]]
    (box,) = one.boxes(224, 398)
    assert (box.top, box.left) == (0, 87)
    (box,) = plan_validation(num_frames=16, sampling_rate=4, size=224, short_side=256).boxes(300, 256)
    assert (box.top, box.left) == (38, 16)
    # Half a pixel is rounded to an even number: 75 / 2 to 38, 73 / 2 to 36, as the official centre crop does.
    for width, left in ((298, 37), (299, 38), (297, 36), (303, 40)):
        (box,) = plan_validation(num_frames=16, sampling_rate=4, size=224).boxes(224, width)
        assert (box.top, box.left) == (0, left)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frame_sampling": "sparse"}, "frame_sampling = 'sparse': expected one of dense, segment"),
        ({"frame_sampling": "segment", "num_clips": 5}, "temporal test views is 5, expected 1 or 2"),
        ({"num_clips": 0}, "0 clips by 3 crops"),
        ({"num_crops": 0}, "5 clips by 0 crops"),
        ({"short_side": 200}, "short side 200: expected at least the size of the views, 224"),
    ],
)
def test_plans_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan(**options)


def bilinear_by_rule(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    """Weighted mean of the four pixels around each new pixel's centre; beyond the edge the edge's."""
    result = np.zeros((height, width, 3))
    for y in range(height):
        for x in range(width):
            down = (y + 0.5) * frame.shape[0] / height - 0.5
            right = (x + 0.5) * frame.shape[1] / width - 0.5
            for row in (np.floor(down), np.floor(down) + 1):
                for column in (np.floor(right), np.floor(right) + 1):
                    weight = (1 - abs(down - row)) * (1 - abs(right - column))
                    inside = (
                        int(np.clip(row, 0, frame.shape[0] - 1)),
                        int(np.clip(column, 0, frame.shape[1] - 1)),
                    )
                    result[y, x] += weight * frame[inside]
    return result


@pytest.mark.parametrize(("size", "new"), [((20, 33), (12, 19)), ((31, 20), (18, 12)), ((10, 12), (12, 14))])
def test_the_short_side_is_resized_bilinearly(size: tuple[int, int], new: tuple[int, int]) -> None:
    frames = np.random.default_rng(1).integers(0, 256, (2, *size, 3), dtype=np.uint8)
    got = resize_short_side(frames, plan_test(num_frames=2, sampling_rate=1, size=12))
    assert got.shape == (2, *new, 3)
    for frame, resized in zip(frames, got, strict=True):
        assert np.abs(bilinear_by_rule(frame, *new) - resized).max() <= 1


def test_published_resized_sizes() -> None:
    for num_frames in (1, 16):
        plan = plan_test(num_frames=num_frames, sampling_rate=1, size=224)
        for size, new in (((240, 320), (224, 298)), ((720, 1280), (224, 398)), ((320, 240), (298, 224))):
            assert resize_short_side(np.zeros((1, *size, 3), np.uint8), plan).shape[1:3] == new


def test_single_frames_are_resized_as_images(rng: np.random.Generator) -> None:
    """Bicubic with antialiasing, against Pillow; and one clip of a frame in time, not five."""
    plan = plan_test(num_frames=1, sampling_rate=4, size=24)
    assert plan.num_views == 3
    assert plan_test(num_frames=1, sampling_rate=4, size=24, num_clips=2).num_views == 6
    frames = rng.integers(0, 256, (1, 90, 130, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(frames[0]).resize((34, 24), Image.Resampling.BICUBIC))
    assert np.abs(resize_short_side(frames, plan)[0].astype(int) - expected).max() <= 1


def test_views_are_cut_clip_by_clip_and_square_by_square() -> None:
    frames = np.random.default_rng(2).integers(0, 256, (5, 8, 14, 3), dtype=np.uint8)
    clips = np.array([[0, 1, 1], [4, 2, 0]])
    views = cut_views(frames, clips, plan(num_frames=3, size=8, num_clips=2))
    expected = [frames[clip, :, left : left + 8] for clip in clips for left in (0, 3, 6)]
    assert np.array_equal(views, np.stack(expected))


def test_a_video_is_opened_and_read_once(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = VideoViews(Annotations.of([str(videos / "a" / "0.mp4")]), plan(num_frames=4, sampling_rate=3, size=32))
    reads: list[int] = []
    opened = dataset.open

    def watched(row: int) -> Any:
        reader = opened(row)
        read = reader.read
        reader.read = lambda indices: (reads.append(len(indices)), read(indices))[1]  # type: ignore[method-assign]
        return reader

    monkeypatch.setattr(dataset, "open", watched)
    dataset[0]
    assert len(reads) == 1
    assert reads[0] == 14  # every third of 40 frames, each once


def test_a_damaged_video_is_told_and_not_replaced(videos: Path) -> None:
    dataset = VideoViews(Annotations.of([str(videos / "a" / "damaged.mp4")], np.array([3])), plan(size=32))
    item = dataset[0]
    assert "views" not in item
    assert (item["row"], item["label"]) == (0, 3)
    assert "not a readable video" in item["reason"]


@pytest.mark.parametrize("name", ["rotate_90.mov", "rotate_180.mov", "unordered.mov"])
def test_odd_real_files(clips: Path, name: str) -> None:
    some = plan(num_frames=4, sampling_rate=2, size=48, num_clips=2)
    paths = [str(clips / name)]
    assert VideoViews(Annotations.of(paths), some)[0]["views"].shape == (6, 4, 48, 48, 3)
