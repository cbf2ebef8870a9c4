"""Inputs of the command lines that are not written by one of our commands."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from tests.data.preparation.miniatures import MINIATURES, encode


def write_inputs(folder: Path) -> None:
    """Fill a new folder: videos, one of them damaged, data sets as they are downloaded, and invalid inputs."""
    folder.mkdir(parents=True)
    _write_videos(folder / "videos")
    for name in ("cats", "dogs"):
        for number in range(4):
            encode(folder / "classes" / name / f"{number} of {name}.mp4", 5 + number, size=(32, 48))
    for number in range(3):
        encode(folder / "listed" / "v" / f"{number}.mp4", 4)
    (folder / "listed/train.csv").write_text("v/0.mp4 run\nv/1.mp4 jump\nv/none.mp4 run\n")
    (folder / "listed/val.csv").write_text("v/2.mp4 run\nv/1.mp4 jump\n")
    for layout, miniature in MINIATURES.items():
        miniature.write(folder / layout)
    old_runs = Path(__file__).resolve().parents[1] / "cli" / "old_runs"
    for name in ("old_runs", "runs"):
        shutil.copytree(old_runs, folder / name)
    shutil.copytree(old_runs / "pretrain", folder / "runs" / "other")
    options = folder / "runs" / "other" / "options.yaml"
    options.write_text(options.read_text().replace("mask_ratio: 0.75", "mask_ratio: 0.5"))
    (folder / "empty").mkdir()
    (folder / "file").write_text("some text\n")
    torch.save({"weights": {"one": torch.ones(2)}, "epoch": 3}, folder / "unknown.pth")


def _write_videos(folder: Path) -> None:
    paths = ("a/0.mp4", "b/0.mp4", "a/1.mp4", "b/2.mp4", "a/bad.mp4", "b/3.mp4")
    for number, path in enumerate(paths):
        encode(folder / path, 8 + 2 * number)
    (folder / "a/bad.mp4").write_bytes(b"damaged")
    rows = [f"{path} {number % 2}" for number, path in enumerate(paths)]
    (folder / "test.csv").write_text("\n".join(rows) + "\n")
    (folder / "three.csv").write_text("\n".join(f"{row}" for row in rows[2:5]) + "\n")
    (folder / "classes.txt").write_text("left\nright\n")
