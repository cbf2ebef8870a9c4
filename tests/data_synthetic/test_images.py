"""Images of shapes: what a person can try everything on images with."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adamae.cli.main import main
from adamae.data.splits import load_splits
from adamae.data.synthetic import SHAPES, synthesize
from adamae.errors import UserError

SMALL = {"videos_per_class": 3, "val_per_class": 1, "test_per_class": 1, "size": 32}


def test_a_labelled_data_set(tmp_path: Path) -> None:
    report = synthesize(tmp_path / "set", **SMALL, images=True)
    assert (report.videos, report.classes) == ({"train": 12, "val": 4, "test": 4}, tuple(SHAPES))
    splits = load_splits(tmp_path / "set", image_files="images")
    assert splits.classes == tuple(SHAPES)
    for row in range(len(splits.train)):
        path = Path(splits.train.path(row))
        assert path.suffix == ".png" and path.parent.name == splits.classes[splits.train.labels[row]]
        with Image.open(path) as image:
            assert (image.mode, image.size) == ("RGB", (32, 32))
    assert not list((tmp_path / "set").rglob("*.npz"))
    assert synthesize(tmp_path / "set", **SMALL, images=True).written == 0
    with pytest.raises(UserError, match="was started with classes = "):
        synthesize(tmp_path / "set", **SMALL)


def test_classes_are_the_shapes_of_the_same_scenes(tmp_path: Path, rng: np.random.Generator) -> None:
    """Shapes in one circle, whose areas are known; objects are brighter than any background."""
    seed = int(rng.integers(2**31))
    areas = {}
    for name in SHAPES:
        options = {**SMALL, "videos_per_class": 30, "size": 128, "seed": seed, "contrast": 0.6}
        synthesize(tmp_path / name, **options, classes=(name,), images=True)
        paths = sorted((tmp_path / name / "train" / name).iterdir())
        areas[name] = sum((np.asarray(Image.open(path)).mean(axis=-1) > 127).sum() for path in paths)
    for name, corners in SHAPES.items():
        expected = corners / (2 * math.pi) * math.sin(2 * math.pi / corners) if corners else 1
        assert areas[name] / areas["disc"] == pytest.approx(expected, rel=0.03), name


def test_videos_have_the_manifest_that_they_always_had(tmp_path: Path) -> None:
    synthesize(
        tmp_path,
        **{**SMALL, "videos_per_class": 1, "val_per_class": 0, "test_per_class": 0},
        classes=("left",),
        frames=2,
    )
    assert "images" not in json.loads((tmp_path / "synthetic.json").read_text())


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "--images --videos_per_class 2 --val_per_class 0 --test_per_class 0 --size 16 --workers 0".split()
    assert main(["synthesize", str(tmp_path / "set"), *words]) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'set'}: 8 images of 4 classes\n")
    assert main(["synthesize", str(tmp_path / "other"), *words, "--classes", "disc,left"]) == 2
    assert "classes = disc left: expected names out of disc, triangle, square, hexagon" in capsys.readouterr().err
