"""Folders of numbered pictures, through every way that leads to a video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adamae.data.annotations import Annotations, load_annotations
from adamae.data.dataset import pretrain_dataset
from adamae.data.decoding import DecodeError, FrameFolder, get_decoder
from adamae.data.views import VideoViews, plan_test
from adamae.errors import UserError
from tests.data.conftest import picture


def fill(folder: Path, count: int, name: str = "img_{:05d}.png", first: int = 1) -> Path:
    """Write the made frames 0 to ``count`` - 1 as pictures; PNG, so that they come back as they were."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.fromarray(picture(number, 48, 64)).save(folder / name.format(first + number))
    return folder


@pytest.mark.parametrize(
    ("name", "first"), [("img_{:05d}.png", 1), ("frame{:d}.png", 0), ("{:06d}.png", 1), ("v_1.2_{:03d}.PNG", 0)]
)
def test_pictures_are_frames_in_the_order_of_their_numbers(tmp_path: Path, name: str, first: int) -> None:
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "notes.txt").write_text("no picture")
    with get_decoder()(str(fill(tmp_path / "v", 12, name, first))) as video:
        assert (video.num_frames, video.fps) == (12, 0)
        wanted = [11, 0, 5, 5]
        expected = np.stack([picture(number, 48, 64) for number in wanted])
        assert np.array_equal(video.read(wanted), expected)
        assert [(row, frame.height, frame.width) for row, frame in video.frames([0, 5])] == [(0, 48, 64), (1, 48, 64)]
        with pytest.raises(IndexError, match="a video of 12 frames"):
            video.read([12])


def test_series_of_optical_flow_are_passed_over(tmp_path: Path) -> None:
    fill(tmp_path, 4)
    fill(tmp_path, 4, "flow_x_{:05d}.png")
    with get_decoder()(str(tmp_path)) as video:
        assert np.array_equal(video.read([3])[0], picture(3, 48, 64))
    fill(tmp_path / "unclear", 2, "a_{}.png")
    fill(tmp_path / "unclear", 2, "b_{}.png")
    with pytest.raises(DecodeError, match=r"unclear: several series of numbered images \(a_\d.png, b_\d.png\)"):
        get_decoder()(str(tmp_path / "unclear"))


def test_what_is_missing_or_damaged_is_named(tmp_path: Path) -> None:
    folder = fill(tmp_path / "v", 9)
    open_video = get_decoder()
    (folder / "img_00004.png").rename(folder / "img_00010.png")
    with pytest.raises(DecodeError, match=r"v: img_00004.png is missing: the images end at img_00010.png"):
        open_video(str(folder))
    (folder / "img_00010.png").rename(folder / "img_00004.png")
    with pytest.raises(DecodeError, match=r"v: img_00010.png is missing: 9 images, and the list says 11"):
        open_video(FrameFolder(str(folder), 11))
    with open_video(FrameFolder(str(folder), 7)) as video:
        assert video.num_frames == 7
    with open_video(str(folder)) as video:
        (folder / "img_00002.png").write_bytes(b"nothing")
        with pytest.raises(DecodeError, match=r"v: img_00002.png: not a readable image"):
            video.read([1])
        (folder / "img_00003.png").unlink()
        with pytest.raises(DecodeError, match=r"v: img_00003.png: no such file"):
            video.read([2])
        Image.new("RGB", (32, 24)).save(folder / "img_00005.png")
        with pytest.raises(DecodeError, match=r"v: img_00005.png has 32x24 pixels, expected 64x48 as img_00001.png"):
            video.read([0, 4])
    (folder / "img_00001.png").unlink()
    with pytest.raises(DecodeError, match=r"v: img_00001.png is missing"):
        open_video(str(folder))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DecodeError, match=r"no numbered images in this folder, expected img_00001\.jpg"):
        open_video(str(tmp_path / "empty"))


@pytest.mark.parametrize(
    "text", ["a/1 12 3\na/2 12 0\n", "a/1 3\na/2 0\n", "path,total_frames,label\na/1,12,3\na/2,12,0\n"]
)
def test_lists_name_folders_with_and_without_their_frames(tmp_path: Path, text: str) -> None:
    for name in ("1", "2"):
        fill(tmp_path / "a" / name, 12)
    (tmp_path / "train.csv").write_text(text)
    videos = load_annotations(tmp_path / "train.csv")
    assert [videos.path(row) for row in range(2)] == [str(tmp_path / "a" / name) for name in "12"]
    assert videos.labels.tolist() == [3, 0]
    chosen = videos.select([1])
    assert getattr(chosen.video(0), "num_frames", 12) == 12
    dataset = pretrain_dataset(videos, num_frames=4, sampling_rate=2, size=32)
    assert dataset[0, 0]["clip"].shape == (1, 4, 32, 32, 3)
    assert dataset[0, 0]["bad"] == []
    views = VideoViews(videos, plan_test(num_frames=4, sampling_rate=2, size=48))
    assert "reason" not in views[0]


def test_a_folder_with_fewer_pictures_than_its_list_says_is_replaced(tmp_path: Path) -> None:
    fill(tmp_path / "whole", 12)
    fill(tmp_path / "short", 8)
    (tmp_path / "train.csv").write_text("short 12 0\nwhole 12 0\n")
    dataset = pretrain_dataset(load_annotations(tmp_path / "train.csv"), num_frames=4, sampling_rate=2, size=32)
    (bad,) = {entry["reason"] for entry in dataset[0, 0]["bad"]}
    assert bad == "img_00009.png is missing: 8 images, and the list says 12"


def test_classes_are_folders_of_folders(tmp_path: Path) -> None:
    for name in ("run/1", "run/2", "jump/1"):
        fill(tmp_path / name, 3)
    videos = load_annotations(tmp_path)
    assert videos.classes == ("jump", "run")
    assert [videos.name(row) for row in range(3)] == ["jump/1", "run/1", "run/2"]
    assert load_annotations(tmp_path / "run").classes is None


def test_numbers_of_frames_that_are_none(tmp_path: Path) -> None:
    for text, got in (("a 0 1\n", "0"), ("my video.mp4 1\n", "video.mp4"), ("a 5 1\nb -3 1\n", "-3")):
        (tmp_path / "train.csv").write_text(text)
        with pytest.raises(UserError, match=f"the number of frames is '{got}', expected a number above 0"):
            load_annotations(tmp_path / "train.csv")


def test_a_list_from_python_may_hold_folders(tmp_path: Path) -> None:
    videos = Annotations.of([str(fill(tmp_path / "v", 5))], frames=[4])
    with get_decoder()(videos.video(0)) as video:
        assert video.num_frames == 4
