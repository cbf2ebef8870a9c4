"""A person's own videos: a folder for each class, splits, lists, or nothing of the kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from adamae.data.annotations import load_annotations
from adamae.data.preparation.prepare import prepare
from adamae.data.preparation.report import Report
from adamae.data.splits import load_splits
from adamae.errors import UserError


def make(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def listed(out: Path, split: str) -> list[str]:
    return (out / f"{split}.csv").read_text().replace("../own/", "").splitlines()


def prepare_lists(tmp_path: Path) -> Report:
    return prepare("folder", tmp_path / "own", tmp_path / "out", encoding=None)


def test_a_folder_for_each_class_is_split_as_fine_tuning_splits_it(tmp_path: Path) -> None:
    names = [f"{kind}/{number}.mp4" for kind in ("cats", "dogs") for number in range(20)]
    source = make(tmp_path / "own", *names)
    (source / "birds").mkdir()
    report = prepare_lists(tmp_path)
    assert [(problem.kind, problem.place) for problem in report.problems] == [("empty_class", str(source / "birds"))]
    (source / "birds").rmdir()
    wanted, got = load_splits(source), load_splits(tmp_path / "out")
    assert got.classes == wanted.classes == ("cats", "dogs")
    for split in ("train", "val", "test"):
        theirs, ours = getattr(wanted, split), getattr(got, split)
        assert [Path(ours.path(row)).resolve() for row in range(len(ours))] == [
            Path(theirs.path(row)) for row in range(len(theirs))
        ]
        assert ours.labels.tolist() == theirs.labels.tolist()
    assert "every tenth video" in report.notes[0]


def test_one_video_in_each_class_is_for_training(tmp_path: Path) -> None:
    make(tmp_path / "own", "a/1.mp4", "b/1.mp4")
    report = prepare_lists(tmp_path)
    assert report.rows == {"train": 2}
    assert "cannot be split" in report.notes[0]


def test_folders_of_splits(tmp_path: Path) -> None:
    make(tmp_path / "own", "train/a/1.mp4", "train/b/2.mp4", "validation/a/3.mp4", "validation/c/4.mp4", "more/5.mp4")
    report = prepare_lists(tmp_path)
    assert listed(tmp_path / "out", "train") == ["train/a/1.mp4 0", "train/b/2.mp4 1"]
    assert listed(tmp_path / "out", "val") == ["validation/a/3.mp4 0"] == listed(tmp_path / "out", "test")
    found = [(problem.kind, problem.place) for problem in report.problems]
    assert found == [("unknown_class", "validation/c/4.mp4"), ("unlisted", "more/5.mp4")]


def test_videos_without_classes(tmp_path: Path) -> None:
    make(tmp_path / "own", "1.mp4", "deeper/my holiday, 2.mkv")
    prepare_lists(tmp_path)
    assert listed(tmp_path / "out", "train") == ["1.mp4", '"deeper/my holiday, 2.mkv"']
    videos = load_annotations(tmp_path / "out")
    assert Path(videos.path(1)).is_file()
    assert not (tmp_path / "out" / "classes.txt").exists()


def test_lists_that_are_there(tmp_path: Path) -> None:
    source = make(tmp_path / "own", "v/1.mp4", "v/2.mp4", "v/3.mp4")
    outside = make(tmp_path / "else", "4.mp4") / "4.mp4"
    (source / "train.csv").write_text(f"v/1.mp4 run\n{outside} jump\nv/9.mp4 run\n")
    (source / "val.csv").write_text("v/2.mp4 run\nv/1.mp4 run\nv/2.mp4 crawl\n")
    report = prepare_lists(tmp_path)
    assert listed(tmp_path / "out", "train") == ["v/1.mp4 1", f"{outside} 0"]
    assert listed(tmp_path / "out", "val") == ["v/2.mp4 1"]
    found = {(problem.kind, problem.place.rpartition("/")[2]) for problem in report.problems}
    assert found == {
        ("missing", "train.csv:3"),
        ("duplicate", "val.csv:2"),
        ("unknown_class", "val.csv:3"),
        ("unlisted", "3.mp4"),
    }


def test_lists_with_numbers_and_names_beside_them(tmp_path: Path) -> None:
    source = make(tmp_path / "own", "1.mp4", "2.mp4")
    (source / "train.csv").write_text("1.mp4 1\n2.mp4 2\n")
    assert prepare_lists(tmp_path).rows == {"train": 2}
    (source / "classes.txt").write_text("walk\nrun\n")
    report = prepare_lists(tmp_path)
    assert listed(tmp_path / "out", "train") == ["1.mp4 1"]
    assert [problem.kind for problem in report.problems] == ["unknown_class", "unlisted"]
    (source / "train.csv").write_text("1.mp4 01\n2.mp4 -1\n")
    report = prepare_lists(tmp_path)
    assert listed(tmp_path / "out", "train") == ["1.mp4 1"]
    assert listed(tmp_path / "out", "unlabelled") == ["2.mp4"]
    assert not list(report.problems)


@pytest.mark.parametrize(
    ("train", "val", "message"),
    [
        ("apple 1", "", r"train\.csv:2: the label is 1, expected a name as in the first row"),
        ("1 apple", "", r"train\.csv:2: the label is 'apple', expected a number as in the first row"),
        ("zebra ape", "0 1", r"val\.csv: labels are numbers, those of .*train\.csv are names \(ape, zebra\); expected"),
        ("1 0", "zebra ape", r"val\.csv: labels are names \(ape, zebra\), those of .*train\.csv are numbers; expected"),
    ],
)
def test_names_and_numbers(tmp_path: Path, train: str, val: str, message: str) -> None:
    """Names are numbered by a file beside the lists, or not at all; training says the same."""
    source = make(tmp_path / "own", "1.mp4", "2.mp4", "3.mp4", "4.mp4")
    (source / "train.csv").write_text("".join(f"{n}.mp4 {label}\n" for n, label in enumerate(train.split(), 1)))
    if val:
        (source / "val.csv").write_text("".join(f"{n}.mp4 {label}\n" for n, label in enumerate(val.split(), 3)))
    for read in (load_splits, lambda _: prepare_lists(tmp_path)):
        with pytest.raises(UserError, match=message):
            read(source)
    assert not (tmp_path / "out" / "train.csv").exists()
    (source / "classes.txt").write_text("zebra\nape\n")
    if val:
        prepare_lists(tmp_path)
        assert load_splits(tmp_path / "out").classes == ("zebra", "ape")
        labels = {"zebra": "0", "ape": "1"}
        got = [line.split()[1] for line in listed(tmp_path / "out", "val")]
        assert got == [labels.get(label, label) for label in val.split()]


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("-5", r"val\.csv:2: the label is -5, expected 0 or more, or -1 for none"),
        ("999999999999", r"val\.csv:2: the label is 999999999999, but 999999999998 of 1000000000000 classes have no v"),
        ("5", r"val\.csv:2: the label is 5, but 4 of 6 classes have no video; expected at least one for each"),
    ],
)
def test_numbers_that_are_no_classes(tmp_path: Path, label: str, message: str) -> None:
    source = make(tmp_path / "own", "1.mp4", "2.mp4", "3.mp4")
    (source / "train.csv").write_text("1.mp4 0\n")
    (source / "val.csv").write_text(f"2.mp4 -1\n3.mp4 {label}\n")
    with pytest.raises(UserError, match=message):
        prepare_lists(tmp_path)
    (source / "val.csv").write_text("2.mp4 -1\n3.mp4 4\n")
    assert prepare_lists(tmp_path).rows == {"train": 1, "val": 1, "test": 1, "unlabelled": 1}


def test_names_that_no_list_can_hold(tmp_path: Path) -> None:
    make(tmp_path / "own", "a/1.mp4", 'a/the "best".mp4', "b/x\ty.mp4", "b/one,two,three.mp4", "b/2.mp4", "a/3.mp4")
    report = prepare_lists(tmp_path)
    assert sorted(problem.place for problem in report.problems.of_kind("unwritable")) == [
        '../own/a/the "best".mp4',
        "../own/b/x\ty.mp4",
    ]
    for split, rows in report.rows.items():
        videos = load_annotations(tmp_path / "out", split=split)
        assert len(videos) == rows
        assert all(Path(videos.path(row)).is_file() for row in range(rows))
    assert sum(report.rows.values()) == 4


def test_a_folder_that_leads_to_itself(tmp_path: Path) -> None:
    source = make(tmp_path / "own", "a/1.mp4", "b/2.mp4", "b/3.mp4")
    (source / "a" / "again").symlink_to(source)
    assert prepare_lists(tmp_path).found == 3


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "no such folder"),
        (("read.me",), "no video or image in this folder"),
        (("val/a/1.mp4",), "no training data"),
    ],
)
def test_mistakes(names: tuple[str, ...], message: str, tmp_path: Path) -> None:
    make(tmp_path / "own", *names)
    with pytest.raises(UserError, match=message):
        prepare_lists(tmp_path)
    assert not (tmp_path / "out").exists()
