"""``adamae evaluate`` from the command line to the files that it leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adamae.cli.main import main
from tests.evaluation.tiny import NAMES, write_classifier, write_pretrainer, write_videos
from tests.launching import launch

FAST = "--sampling_rate 2 --num_workers 0 --device cpu".split()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with seven videos, their list, and checkpoints."""
    folder = tmp_path_factory.mktemp("evaluate")
    write_videos(folder)
    write_classifier(folder / "named.safetensors")
    write_classifier(folder / "unnamed.safetensors", names=())
    write_pretrainer(folder / "pretrained.safetensors")
    return folder


def evaluate(place: Path, checkpoint: str, *words: str) -> int:
    return main(["evaluate", str(place / f"{checkpoint}.safetensors"), *FAST, *words])


def test_scores_are_told_and_written(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert evaluate(place, "named", "--data_path", str(place), "--output_dir", str(out), "--json") == 0
    told = capsys.readouterr()
    summary = json.loads(told.out)
    assert summary == json.loads((out / "scores.json").read_text())
    assert (summary["videos"], summary["scored"], summary["views"]) == (7, 6, 15)
    assert summary["absent_classes"] == ["still"]
    assert summary["epoch"] == 7
    assert summary["clip"] == {
        "num_frames": 4,
        "frames_read": 4,
        "sampling_rate": 2,
        "input_size": 16,
        "frame_sampling": "dense",
    }
    assert len(list(out.iterdir())) == 5
    assert "the checkpoint does not store --frame_sampling: using the default" in told.err
    assert "bad.mp4: not a readable video" in told.err


def test_one_line_without_json(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "--test_num_crop 1 --frame_sampling segment".split()
    assert evaluate(place, "unnamed", "--data_path", str(place / "test.csv"), *words) == 0
    told = capsys.readouterr()
    assert told.out.startswith("top-1 ")
    assert "; 1 without a score: " in told.out
    assert "2 clips x 1 crop per video, 4 frames that span the video, 16x16 pixels" in told.err
    assert "2 views per video, logits averaged" in told.err


def test_other_clips_than_the_checkpoint_s(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "--num_frames 8 --input_size 24 --short_side_size 28 --test_num_segment 1 --test_num_crop 1".split()
    assert evaluate(place, "named", "--data_path", str(place / "test.csv"), *words) == 0
    assert "1 clip x 1 crop per video, 8 frames with stride 2, 24x24 pixels" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("checkpoint", "rows", "words", "message"),
    [
        ("named", "0 1", [], None),
        ("named", "left sideways", [], "list.csv:2: the class 'sideways' is not among the 5 known ones"),
        ("named", "0 9", [], "list.csv:2: the label is 9, expected less than 5"),
        ("named", "cat dog", [], "none of its 2 classes (cat, dog) is among the 5 of the model"),
        ("unnamed", "cat dog", [], "its labels are 2 names and the network has 5 classes without names"),
        ("named", "-1 -1", [], "no video has a label"),
        ("named", "0 1", ["--classes", "two.txt"], "two.txt: 2 class names, expected 5"),
        ("named", "0 1", ["--test_num_segment", "3", "--frame_sampling", "segment"], "views is 3, expected 1 or 2"),
        ("named", "0 1", ["--input_size", "30"], "30"),
        ("pretrained", "0 1", [], "is a pre-trained AdaMAE"),
        ("missing", "0 1", [], "no such file or directory; expected a checkpoint"),
    ],
)
def test_mistakes_are_one_line(
    place: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    checkpoint: str,
    rows: str,
    words: list[str],
    message: str | None,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("two.txt").write_text("a\nb\n")
    Path("list.csv").write_text("".join(f"{place / 'a' / '0.mp4'} {label}\n" for label in rows.split()))
    code = evaluate(place, checkpoint, "--data_path", "list.csv", "--test_num_segment", "1", *words)
    error = capsys.readouterr().err.splitlines()[-1]
    if message is None:
        assert code == 0
    else:
        assert code == 2
        assert error.startswith("adamae: error: ") and message in error


def test_no_list(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(place, "named") == 2
    assert "--data_path is missing: expected a list of videos or images with labels" in capsys.readouterr().err


def test_classes_of_another_order_are_refused_unless_they_are_given(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "test.csv").write_text(f"{place / 'a' / '0.mp4'} 0\n")
    classes = tmp_path / "classes.txt"
    classes.write_text("\n".join((NAMES[1], NAMES[0], *NAMES[2:])))
    words = ["--data_path", str(tmp_path), "--test_num_segment", "1", "--test_num_crop", "1"]
    assert evaluate(place, "named", *words) == 2
    expected = f"{classes}: class 0 is 'right', expected 'left', as in {place / 'named.safetensors'}"
    assert capsys.readouterr().err.splitlines()[-1] == f"adamae: error: {expected}"
    assert evaluate(place, "unnamed", *words) == 0
    capsys.readouterr()
    assert evaluate(place, "named", *words, "--classes", str(classes)) == 0
    assert f"note: {classes}: class 0 is 'right', 'left' in the checkpoint" in capsys.readouterr().err


def test_names_of_the_list_get_the_checkpoint_s_numbers(place: Path, tmp_path: Path) -> None:
    rows = [f"{place / 'a' / '0.mp4'} {NAMES[3]}", f"{place / 'a' / '1.mp4'} {NAMES[1]}"]
    (tmp_path / "list.csv").write_text("\n".join(rows))
    words = ["--data_path", str(tmp_path / "list.csv"), "--output_dir", str(tmp_path / "out")]
    assert evaluate(place, "named", *words, "--test_num_segment", "1", "--test_num_crop", "1") == 0
    lines = (tmp_path / "out" / "scores.csv").read_text().splitlines()
    assert [line.split(",")[2] for line in lines] == ["label", "3", "1"]


@pytest.mark.slow
def test_two_processes_write_the_files_of_one(place: Path, tmp_path: Path) -> None:
    words = ["evaluate", place / "named.safetensors", "--data_path", place, *FAST]
    assert main([*map(str, words), "--output_dir", str(tmp_path / "one")]) == 0
    texts = launch(["-m", "adamae", *words, "--output_dir", tmp_path / "two"], size=2)
    assert texts[0].startswith("top-1 ") and texts[1] == ""
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
