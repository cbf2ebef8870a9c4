"""What scoring writes can be read back and says the same."""

from __future__ import annotations

import builtins
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adamae.data.annotations import Annotations, load_annotations
from adamae.evaluation.confusion_picture import draw_confusion
from adamae.evaluation.metrics import measure_accuracy
from adamae.evaluation.results import summarise, write_results
from adamae.evaluation.scoring import Scores, score_videos
from tests.checkpoints.networks import classifier
from tests.evaluation.tiny import BAD, LABELS, NAMES, PATHS, views


@pytest.fixture(scope="module")
def scored(test_list: Path) -> Scores:
    return score_videos(classifier(), views(test_list))


def write(folder: Path, test_list: Path, scored: Scores) -> list[str]:
    annotations = load_annotations(test_list)
    accuracy = measure_accuracy(scored, annotations.labels)
    summary = summarise(scored, accuracy, NAMES, {"checkpoint": "x"})
    return write_results(folder, scored, annotations, accuracy, NAMES, summary)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_files_say_what_was_scored(tmp_path: Path, test_list: Path, scored: Scores) -> None:
    assert write(tmp_path / "out", test_list, scored) == []
    out = tmp_path / "out"
    names = ["confusion.csv", "confusion.png", "per_class.csv", "scores.csv", "scores.json"]
    assert sorted(path.name for path in out.iterdir()) == names
    summary = json.loads((out / "scores.json").read_text())
    assert summary["checkpoint"] == "x"
    assert summary["views"] == 15
    assert summary["unscored_videos"][0]["row"] == BAD
    assert (summary["videos"], summary["scored"], summary["unscored"]) == (7, 6, 1)
    assert summary["absent_classes"] == ["still"]

    videos = rows(out / "scores.csv")
    assert [int(video["row"]) for video in videos] == list(range(7))
    assert [video["path"].endswith(name) for video, name in zip(videos, PATHS, strict=True)] == [True] * 7
    assert [int(video["label"]) for video in videos] == list(LABELS)
    assert "not a readable video" in videos[BAD]["problem"]
    assert videos[BAD]["prediction"] == videos[BAD]["left"] == ""
    readable = [video for video in videos if not video["problem"]]
    logits = np.array([[float(video[name]) for name in NAMES] for video in readable], np.float32)
    assert np.array_equal(logits, scored.logits)
    assert [int(video["prediction"]) for video in readable] == logits.argmax(axis=1).tolist()
    right = sum(video["prediction"] == video["label"] for video in readable)
    assert right == summary["top1_correct"] == sum(int(row["correct"]) for row in rows(out / "per_class.csv"))
    assert [int(video["rank"]) == 0 for video in readable] == [v["prediction"] == v["label"] for v in readable]

    confusion = rows(out / "confusion.csv")
    assert [row["true \\ predicted"] for row in confusion] == list(NAMES)
    assert sum(int(row[name]) for row in confusion for name in NAMES) == 6
    assert sum(int(row[row["true \\ predicted"]]) for row in confusion) == right


def test_a_path_with_an_end_of_line_is_one_row(tmp_path: Path) -> None:
    paths = ["/a\rb.mp4", "/c\nd.mp4", "/e,f.mp4"]
    annotations = Annotations.of(paths, np.array([0, 1, 1]))
    found = Scores(np.arange(3), np.eye(3, 2, dtype=np.float32), (), 1)
    accuracy = measure_accuracy(found, annotations.labels)
    write_results(tmp_path, found, annotations, accuracy, ("one", "two"), summarise(found, accuracy, ("one", "two")))
    assert [row["path"] for row in rows(tmp_path / "scores.csv")] == paths


def test_without_matplotlib_there_is_no_picture(
    tmp_path: Path, test_list: Path, scored: Scores, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    assert write(tmp_path, test_list, scored) == ["confusion.png was not written: it needs the package matplotlib"]
    assert not (tmp_path / "confusion.png").exists()


@pytest.mark.parametrize("classes", [1, 12, 40, 174])
def test_pictures_of_any_number_of_classes(tmp_path: Path, classes: int) -> None:
    confusion = np.diag(np.arange(classes))
    confusion[0, -1] += 3
    draw_confusion(tmp_path / "c.png", confusion, [f"$_$ moving something {n}, slowly" for n in range(classes)])
    header = (tmp_path / "c.png").read_bytes()[:24]
    width, height = (int.from_bytes(header[start : start + 4], "big") for start in (16, 20))
    assert header[:4] == b"\x89PNG"
    assert min(width, height) > 300 and max(width, height) < 3000
    # One pixel for each class at the least, with room to spare.
    assert min(width, height) > 2 * classes
