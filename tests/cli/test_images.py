"""A folder of images through every command, as clips of one frame."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adamae.cli.main import main
from tests.data.conftest import encode

CLIP = "--num_frames 1 --tubelet_size 1 --input_size 32".split()
SIZES = "--patch_size 8 --encoder_embed_dim 24 --encoder_depth 1 --encoder_num_heads 2".split()
TRAIN = "--epochs 1 --batch_size 4 --num_workers 0 --device cpu".split()
PRETRAIN = "--mask_ratio 0.5 --decoder_embed_dim 16 --decoder_depth 1 --decoder_num_heads 2".split()
CLASSES = ("blue", "green", "red")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ImageNet-style tree: train, val and test with three classes of images of several sizes, formats and modes."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng()
    for split, count in (("train", 4), ("val", 2), ("test", 2)):
        for label, name in enumerate(CLASSES):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 90, (36 + 4 * number, 40, 3), dtype=np.uint8)
                pixels[..., 2 - label] += 160
                image = Image.fromarray(pixels)
                suffix, image = (("JPEG", image), ("png", image.convert("RGBA")))[number % 2]
                image.save(root / split / name / f"{name}_{7 * number + 3}.{suffix}")
    return root


@pytest.fixture(scope="module")
def pretrained(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the images, with a learned sampler so that every command has something to show."""
    out = tmp_path_factory.mktemp("pretrained") / "run"
    words = ["pretrain", "--data_path", str(images / "train"), "--output_dir", str(out)]
    assert main([*words, *CLIP, *SIZES, *PRETRAIN, *TRAIN]) == 0
    return out


@pytest.fixture(scope="module")
def finetuned(images: Path, pretrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finetuned") / "run"
    words = ["finetune", "--finetune", str(pretrained), "--data_path", str(images), "--output_dir", str(out)]
    assert main([*words, "--lr", "0.1", *CLIP, *SIZES, *TRAIN]) == 0
    return out


def log_of(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def test_training(pretrained: Path, finetuned: Path) -> None:
    losses = [line["loss"] for line in log_of(pretrained) if "loss" in line]
    assert losses and np.isfinite(losses).all()
    assert not (pretrained / "bad_videos.jsonl").exists()
    scores = json.loads((finetuned / "test" / "scores.json").read_text())
    assert scores["videos"] == 6


def test_evaluation(images: Path, finetuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(finetuned), "--data_path", str(images), "--device", "cpu"]) == 0
    told = capsys.readouterr()
    assert "(" in told.out
    assert f"6 images of {images / 'test'}: 1 clip x 3 crops per image, 1 frame, 32x32 pixels" in told.err
    # Files, folders and lists of images, and a video of which a frame is taken.
    encode(tmp_path / "v.mp4", 5)
    first = sorted((images / "test" / "red").iterdir())
    (tmp_path / "list.csv").write_text(f'"{first[1]}" 0\n')
    given = [str(first[0]), str(tmp_path / "v.mp4"), str(images / "val" / "blue"), str(tmp_path / "list.csv")]
    assert main(["predict", str(finetuned), *given, "--device", "cpu"]) == 0
    found = json.loads(capsys.readouterr().out)
    blue = sorted(map(str, (images / "val" / "blue").iterdir()))
    assert [one["video"] for one in found] == [given[0], given[1], *blue, str(first[1])]
    # One clip of one frame, three crops.
    assert {one["views"] for one in found} == {3}


def test_features(images: Path, pretrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "features.npz"
    assert main(["extract", str(pretrained), str(images / "test"), "-o", str(out), "--device", "cpu"]) == 0
    with np.load(out) as file:
        assert file["features"].shape == (6, 24)
        assert file["start_frame"].tolist() == [0] * 6 and file["end_frame"].tolist() == [1] * 6
        assert np.isnan(file["start"]).all()
    told = capsys.readouterr()
    assert f"{out}: 6 windows of 6 images, features (24,)" in told.out
    assert "6 images, windows of 1 frame\n" in told.err
    words = "--probe_tokens 4 --num_workers 0 --json --device cpu".split()
    assert main(["probe", str(pretrained), "--data_path", str(images), *words]) == 0
    told = capsys.readouterr()
    assert "12 training and 6 test images of 3 classes: 1 clip x 1 crop per image" in told.err
    assert "video" not in told.err
    found = json.loads(told.out)
    assert (found["training_videos"], found["test_videos"], found["test_unread"]) == (12, 6, 0)


def test_pictures(images: Path, pretrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = sorted((images / "test" / "red").iterdir())[0]
    for command, *words in (["visualize", "--html"], ["saliency"]):
        assert main([command, str(pretrained), str(image), "-o", str(tmp_path), *words, "--device", "cpu"]) == 0
    # A film of one frame is none.
    written = sorted(path.name.removeprefix(image.stem) for path in tmp_path.iterdir())
    assert written == ["-saliency.png", ".html", ".npz", ".png"]
    assert "<h2>Statistics over the whole image</h2>" in (tmp_path / f"{image.stem}.html").read_text()
    with np.load(tmp_path / f"{image.stem}.npz") as file:
        assert file["video"].shape == (1, 32, 32, 3) and file["grid"].tolist() == [1, 4, 4]
    assert "video" not in capsys.readouterr().err
    assert main(["timeline", str(pretrained), str(image), "-o", str(tmp_path), "--device", "cpu"]) == 2
    assert f"{image}: has 1 frame, expected at least 2 for a timeline" in capsys.readouterr().err


def test_shards_take_the_place_of_a_folder(
    images: Path, pretrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pack", str(images), "-o", str(tmp_path / "shards"), "--no_shuffle"]) == 0
    told = capsys.readouterr().out
    assert f"{tmp_path / 'shards' / 'train'}: 12 images in 1 shard" in told and "video" not in told
    for name, given in (("folder", images / "train"), ("shards", tmp_path / "shards" / "train")):
        words = ["pretrain", "--data_path", str(given), "--output_dir", str(tmp_path / name), "--shard_window", "1"]
        assert main([*words, *CLIP, *SIZES, *PRETRAIN, *TRAIN, "--max_steps", "1"]) == 0
        assert (
            main(["extract", str(pretrained), str(given), "-o", str(tmp_path / f"{name}.npz"), "--device", "cpu"]) == 0
        )
    with np.load(tmp_path / "folder.npz") as a, np.load(tmp_path / "shards.npz") as b:
        assert np.array_equal(a["features"], b["features"]) and np.array_equal(a["label"], b["label"])


def test_scan_and_benchmarks(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "set" / "red"
    broken.mkdir(parents=True)
    whole = sorted((images / "train" / "red").iterdir())[0].read_bytes()
    (broken / "whole.jpg").write_bytes(whole)
    (broken / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (broken / "page.jpg").write_text("<html>")
    words = ["scan", str(tmp_path / "set"), "-o", str(tmp_path / "out"), "--workers", "0"]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "3 images: 1 good with 1 frames, 2 bad" in told and "video" not in told
    assert main([*words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["videos"], report["good"], report["frames"], report["cut_off"]) == (3, 1, 1, 1)
    with (tmp_path / "out" / "scan.bad.csv").open(newline="") as file:
        reasons = {Path(row["path"]).name: row["reason"] for row in csv.DictReader(file)}
    assert reasons == {"cut.jpg": "cut off: the file ends before the image does", "page.jpg": "not a readable image"}
    for words in (
        ["loader", str(images / "train"), *CLIP[:2], "--num_workers", "0"],
        ["eval", str(images / "test"), *CLIP[:2]],
    ):
        assert main(["bench", *words, "--json"]) == 0
        assert json.loads(capsys.readouterr().out).get("images", True)


def test_damaged_images_are_replaced(images: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for number, path in enumerate(sorted((images / "train").rglob("*.JPEG"))):
        content = path.read_bytes()
        (folder / f"{number}-a.jpg").write_bytes(content[: len(content) // 2] if number == 2 else content)
    words = ["pretrain", "--data_path", str(folder), "--output_dir", str(tmp_path / "run"), "--max_bad_fraction", "0.5"]
    assert main([*words, *CLIP, *SIZES, *PRETRAIN, *TRAIN, "--batch_size", "2"]) == 0
    (line,) = (tmp_path / "run" / "bad_videos.jsonl").read_text().splitlines()
    assert json.loads(line)["path"] == str(folder / "2-a.jpg")
    assert json.loads(line)["reason"].startswith("cut off: ")


def test_clips_of_several_frames_refuse_images(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = sorted((images / "train" / "red").iterdir())[0]
    encode(tmp_path / "v.mp4", 5)
    (tmp_path / "list.csv").write_text(f'"v.mp4" 0\n"{image}" 1\n')
    assert main(["pack", str(images / "train"), "-o", str(tmp_path / "shards")]) == 0
    for given, told in (
        (images / "train", f"{images / 'train'}: no video in this folder or below it, and the image files"),
        (tmp_path / "list.csv", f"{image}: is an image and has a single frame, expected videos"),
        (tmp_path / "shards", ".JPEG: is an image and has a single frame"),
    ):
        capsys.readouterr()
        assert main(["pretrain", "--data_path", str(given), "--output_dir", str(tmp_path / "run")]) == 2
        error = capsys.readouterr().err
        assert told in error and "--num_frames 1 reads" in error
        assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()
