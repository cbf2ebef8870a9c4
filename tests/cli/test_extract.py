"""``adamae extract``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from adamae.cli.main import main
from tests.evaluation.tiny import write_classifier, write_pretrainer, write_videos

FAST = "--sampling_rate 2 --device cpu".split()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with videos and checkpoints."""
    folder = tmp_path_factory.mktemp("extract")
    write_videos(folder)
    write_classifier(folder / "finetuned.safetensors")
    write_pretrainer(folder / "pretrained.safetensors")
    return folder


@pytest.mark.parametrize("checkpoint", ["pretrained", "finetuned"])
@pytest.mark.parametrize(("level", "shape"), [("window", (32,)), ("time", (2, 32)), ("tubelet", (2, 2, 2, 32))])
def test_features_of_a_list(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], checkpoint: str, level: str, shape: tuple[int, ...]
) -> None:
    out = tmp_path / "features.npz"
    words = [str(place / f"{checkpoint}.safetensors"), str(place / "test.csv"), "-o", str(out), "--level", level]
    assert main(["extract", *words, *FAST, "--window_step", "4"]) == 0
    told = capsys.readouterr()
    with np.load(out) as file:
        assert file["features"].shape == (len(file["start"]), *shape)
        assert len(set(file["row"].tolist())) == 6
        assert json.loads(str(file["about"]))["level"] == level
        assert f"{len(file['start'])} windows of 6 videos, features {shape}" in told.out
    assert "no features: " in told.err and "bad.mp4" in told.err


def test_a_folder_without_labels(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "features.npz"
    assert main(["extract", str(place / "pretrained.safetensors"), str(place / "a"), "-o", str(out), *FAST]) == 0
    with np.load(out) as file:
        assert set(file["label"].tolist()) == {-1}


@pytest.mark.parametrize(
    ("source", "out", "message"),
    [
        ("test.csv", "features.h5", "unknown ending '.h5', expected one of .npz, .parquet"),
        ("none.csv", "features.npz", "none.csv: no such list or folder"),
        ("a/bad.mp4", "features.npz", "bad.mp4: none of 1 video has features, for example"),
        ("test.csv", "test.npz/features.npz", "features.npz: cannot be written (Not a directory)"),
    ],
)
def test_mistakes_are_one_line(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, out: str, message: str
) -> None:
    (tmp_path / "test.npz").touch()
    words = [str(place / "pretrained.safetensors"), str(place / source), "-o", str(tmp_path / out)]
    assert main(["extract", *words, *FAST]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / out).exists()
