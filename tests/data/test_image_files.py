"""What image files in folders, lists and shards are: images, or the frames of videos."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adamae.data.annotations import load_annotations, read_list
from adamae.data.dataset import pretrain_dataset
from adamae.data.image_files import ImageFiles, image_files_for
from adamae.data.named_videos import load_named
from adamae.data.splits import load_splits
from adamae.data.views import VideoViews, plan_test
from adamae.errors import UserError
from tests.data.conftest import MakeVideo, picture


def make(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12, 10)).save(root / name, "PNG")
    return root


def names_of(root: Path, image_files: ImageFiles) -> list[str]:
    videos = load_annotations(root, image_files=image_files)
    return [videos.name(row) for row in range(len(videos))]


def test_the_length_of_a_clip_decides() -> None:
    assert [image_files_for(frames) for frames in (1, 2, 16)] == ["images", "frames", "frames"]


def test_folders_of_frames_and_of_images(tmp_path: Path) -> None:
    frames = make(
        tmp_path / "f", *(f"{c}/{v}/img_{number:05d}.jpg" for c in "ab" for v in "12" for number in range(1, 4))
    )
    folders = ["a/1", "a/2", "b/1", "b/2"]
    assert names_of(frames, "frames") == names_of(frames, "auto") == folders
    images = names_of(frames, "images")
    assert len(images) == 12 and images[0] == "a/1/img_00001.jpg"
    assert load_annotations(frames, image_files="images").classes == ("a", "b")
    # A gap in one of them is that video's fault.
    (frames / "a" / "1" / "img_00002.jpg").unlink()
    assert names_of(frames, "frames") == names_of(frames, "auto") == folders
    # Below a folder of frames nothing else counts.
    make(frames, "a/1/masks/0001.png")
    assert names_of(frames, "frames") == folders


def test_numbers_with_gaps_are_images(tmp_path: Path) -> None:
    root = make(
        tmp_path / "i", *(f"{name}/{name}_{7 * number}.JPEG" for name in ("n01", "n02") for number in range(1, 4))
    )
    expected = [f"{name}/{name}_{7 * number}.JPEG" for name in ("n01", "n02") for number in (1, 2, 3)]
    assert sorted(names_of(root, "auto")) == sorted(names_of(root, "images")) == sorted(expected)
    with pytest.raises(UserError, match=r"i: no video .* are not numbered as the frames .*--num_frames 1 reads them"):
        names_of(root, "frames")
    # Not in sub-folders, and without numbers.
    flat = make(tmp_path / "flat", "cat.png", "dog.webp")
    assert names_of(flat, "auto") == ["cat.png", "dog.webp"]
    assert load_annotations(flat).classes is None


def test_images_beside_videos(tmp_path: Path, make_video: MakeVideo) -> None:
    make_video("set/a/1.mp4", 4)
    make(tmp_path / "set", "a/1.jpg", "b/2.jpg")
    assert names_of(tmp_path / "set", "frames") == names_of(tmp_path / "set", "auto") == ["a/1.mp4"]
    assert names_of(tmp_path / "set", "images") == ["a/1.jpg", "a/1.mp4", "b/2.jpg"]


@pytest.mark.parametrize("header", ["image,label", "image_path,class", "path,label"])
def test_lists_of_images(tmp_path: Path, header: str) -> None:
    make(tmp_path, "my cat.JPG", "b.png")
    (tmp_path / "train.csv").write_text(f"{header}\nmy cat.JPG,1\nb.png,0\n")
    images = read_list(tmp_path / "train.csv")
    assert [images.names[row] for row in range(2)] == ["my cat.JPG", "b.png"] and images.labels.tolist() == [1, 0]
    (tmp_path / "unquoted.csv").write_text("b.png 0\nmy cat.JPG 1\n")
    with pytest.raises(UserError, match=r"unquoted\.csv:2: 3 columns, expected 2"):
        read_list(tmp_path / "unquoted.csv")
    with pytest.raises(UserError, match="this is an image, expected a list or a folder"):
        load_annotations(tmp_path / "b.png")


def test_a_list_of_both_gives_one_frame_of_each(tmp_path: Path, make_video: MakeVideo) -> None:
    make_video("v.mp4", 9)
    Image.fromarray(picture(5, 48, 64)).save(tmp_path / "i.png")
    (tmp_path / "train.csv").write_text("v.mp4 0\ni.png 1\n")
    rows = load_annotations(tmp_path / "train.csv", image_files="images")
    dataset = pretrain_dataset(rows, num_frames=1, sampling_rate=4, size=32)
    assert [dataset[0, row]["clip"].shape for row in range(2)] == [(1, 1, 32, 32, 3)] * 2
    assert all(dataset[epoch, row]["bad"] == [] for epoch in range(3) for row in range(2))
    views = VideoViews(rows, plan_test(num_frames=1, sampling_rate=4, size=48, num_crops=1))
    assert [views[row]["views"].shape for row in range(2)] == [(1, 1, 48, 48, 3)] * 2
    assert np.array_equal(views[1]["views"][0, 0], picture(5, 48, 64)[:, 8:56])
    # Clips of several frames have no images.
    for load in (load_annotations, load_splits):
        with pytest.raises(
            UserError, match=r"i\.png: is an image and has a single frame, expected videos for clips of"
        ):
            load(tmp_path / "train.csv", image_files="frames")


def test_images_that_are_named_one_by_one(tmp_path: Path) -> None:
    make(tmp_path, "cat.jpg", "frames/img_1.png", "frames/img_2.png")
    given = [str(tmp_path / "cat.jpg"), str(tmp_path / "frames")]
    images = load_named(given, image_files="images")
    assert [Path(images.path(row)).name for row in range(len(images))] == ["cat.jpg", "img_1.png", "img_2.png"]
    videos = load_named(given[1:], image_files="frames")
    assert [videos.path(row) for row in range(len(videos))] == given[1:]
    with pytest.raises(UserError, match=r"cat\.jpg: is an image and has a single frame"):
        load_named(given, image_files="frames")


def test_a_large_list_is_read_fast(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("".join(f"class_{n % 99}/video_{n:06d}.mp4 {n % 99}\n" for n in range(200_000)))
    seconds = []
    for image_files in ("auto", "frames"):
        start = time.process_time()
        read_list(tmp_path / "train.csv", image_files=image_files)
        seconds.append(time.process_time() - start)
    assert seconds[1] < 2 * seconds[0] + 0.1
