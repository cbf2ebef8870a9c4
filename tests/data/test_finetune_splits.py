"""Where the training, validation and test videos of a data set come from, and what is wrong with one."""

from __future__ import annotations

import resource
import shutil
from pathlib import Path

import numpy as np
import pytest

from adamae.data.splits import Splits, load_splits
from adamae.errors import UserError


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


def tree(folder: Path, per_class: int = 20, classes: str = "abc") -> Path:
    return touch(folder, *(f"{name}/{number}.mp4" for name in classes for number in range(per_class)))


def write(path: Path, *rows: str) -> None:
    path.write_text("\n".join(rows) + "\n")
    touch(path.parent, *(row.rpartition(" ")[0] for row in rows if " " in row))


def rows(splits: Splits) -> dict[str, list[tuple[str, int]]]:
    return {
        split: [
            (Path(videos.path(row)).name, int(videos.labels[row]))
            for videos in [getattr(splits, split)]
            for row in range(len(videos))
        ]
        for split in ("train", "val", "test")
    }


def test_three_lists_with_numbers(tmp_path: Path) -> None:
    for split, number in (("train", 0), ("val", 1), ("test", 2)):
        write(tmp_path / f"{split}.csv", f"{number}0.mp4 0", f"{number}1.mp4 1")
    splits = load_splits(tmp_path)
    assert rows(splits) == {
        name: [(f"{n}0.mp4", 0), (f"{n}1.mp4", 1)] for n, name in enumerate(("train", "val", "test"))
    }
    assert splits.classes == ("0", "1")
    assert splits.notes == ()
    assert rows(load_splits(tmp_path / "train.csv")) == rows(splits)
    assert load_splits(tmp_path, num_classes=2).num_classes == 2


def test_names_are_numbered_by_the_training_list(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "1.mp4 walk", "2.mp4 jump")
    write(tmp_path / "val.csv", "3.mp4 walk")
    write(tmp_path / "test.csv", "4.mp4 jump")
    splits = load_splits(tmp_path)
    assert splits.classes == ("jump", "walk")
    assert (splits.val.labels.tolist(), splits.test.labels.tolist()) == ([1], [0])


def test_names_beside_the_lists(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        write(tmp_path / f"{split}.csv", f"{split}0.mp4 0", f"{split}1.mp4 1")
    (tmp_path / "classes.txt").write_text("walk\njump\n")
    assert load_splits(tmp_path).classes == ("walk", "jump")


def test_a_missing_list_is_stood_in_for_and_said(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "1.mp4 0", "2.mp4 1")
    write(tmp_path / "val.csv", "3.mp4 0", "4.mp4 1")
    splits = load_splits(tmp_path)
    assert splits.test is splits.val
    assert splits.notes == ("no list for test: that of val is used for both",)


def test_lists_for_evaluation_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    write(tmp_path / "one" / "videos.txt", "1.mp4 0", "2.mp4 1")
    write(tmp_path / "other" / "list.csv", "3.mp4 0", "4.mp4 1")
    write(tmp_path / "other" / "test.csv", "5.mp4 0", "6.mp4 1")
    source = tmp_path / "one" / "videos.txt"
    splits = load_splits(source, eval_data_path=tmp_path / "other" / "list.csv")
    assert rows(splits)["val"] == rows(splits)["test"] == [("3.mp4", 0), ("4.mp4", 1)]
    splits = load_splits(source, eval_data_path=tmp_path / "other")
    assert rows(splits)["val"] == rows(splits)["test"] == [("5.mp4", 0), ("6.mp4", 1)]


@pytest.mark.parametrize("kind", ["lists", "folders"])
def test_both_lists_for_evaluation_elsewhere(tmp_path: Path, kind: str) -> None:
    write(tmp_path / "train.csv", "1.mp4 a", "2.mp4 b")
    other = tmp_path / "other"
    other.mkdir()
    for split, number in (("val", 3), ("test", 4)):
        if kind == "lists":
            write(other / f"{split}.csv", f"{number}.mp4 b")
        else:
            touch(other, f"{split}/b/{number}.mp4")
    splits = load_splits(tmp_path / "train.csv", eval_data_path=other)
    assert rows(splits) == {"train": [("1.mp4", 0), ("2.mp4", 1)], "val": [("3.mp4", 1)], "test": [("4.mp4", 1)]}


@pytest.mark.parametrize("split", ["val", "test"])
def test_one_list_for_evaluation_elsewhere_serves_for_both(tmp_path: Path, split: str) -> None:
    write(tmp_path / "train.csv", "1.mp4 0", "2.mp4 1")
    (tmp_path / "other").mkdir()
    write(tmp_path / "other" / f"{split}.csv", "3.mp4 1")
    splits = load_splits(tmp_path / "train.csv", eval_data_path=tmp_path / "other")
    assert rows(splits)["val"] == rows(splits)["test"] == [("3.mp4", 1)]


def test_folders_of_class_folders(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        touch(tmp_path, f"{split}/run/{split}1.mp4", f"{split}/sit/{split}2.mp4")
    splits = load_splits(tmp_path)
    assert splits.classes == ("run", "sit")
    assert rows(splits)["val"] == [("val1.mp4", 0), ("val2.mp4", 1)]


def test_a_tree_is_split_class_by_class_and_always_alike(tmp_path: Path) -> None:
    splits = load_splits(tree(tmp_path / "set"))
    assert splits.classes == ("a", "b", "c")
    assert [len(splits.train), len(splits.val), len(splits.test)] == [48, 6, 6]
    assert np.bincount(splits.val.labels).tolist() == np.bincount(splits.test.labels).tolist() == [2, 2, 2]
    assert splits.notes == (
        "no lists for validation and test: a tenth of the videos of each class, chosen by a hash of the path, is used "
        "for each",
    )
    parts = [{v.path(row) for row in range(len(v))} for v in (splits.train, splits.val, splits.test)]
    assert len(set.union(*parts)) == 60
    assert all(Path(path).is_file() for path in set.union(*parts))
    # Neither another place nor another class moves a video.
    shutil.move(tmp_path / "set", tmp_path / "moved")
    tree(tmp_path / "moved", 5, "d")
    again = load_splits(tmp_path / "moved")
    of_old = {split: [row for row in found if row[1] < 3] for split, found in rows(again).items()}
    assert of_old == rows(splits)


def test_a_list_is_split_alike_with_absolute_and_relative_paths(tmp_path: Path) -> None:
    tree(tmp_path, 10, "ab")
    names = [f"{name}/{number}.mp4" for name in "ab" for number in range(10)]
    (tmp_path / "relative.txt").write_text("".join(f"{name} {name[0]}\n" for name in names))
    (tmp_path / "absolute.txt").write_text("".join(f"{tmp_path / name} {name[0]}\n" for name in names))
    relative, absolute = load_splits(tmp_path / "relative.txt"), load_splits(tmp_path / "absolute.txt")
    assert rows(relative) == rows(absolute)
    assert Path(absolute.val.path(0)).is_file()


def test_small_classes(tmp_path: Path) -> None:
    touch(tmp_path, "one/1.mp4", "two/1.mp4", "two/2.mp4", "three/1.mp4", "three/2.mp4", "three/3.mp4")
    splits = load_splits(tmp_path)
    counts = {s: np.bincount(getattr(splits, s).labels, minlength=3).tolist() for s in ("train", "val", "test")}
    assert counts == {"train": [1, 1, 1], "val": [0, 1, 1], "test": [0, 1, 1]}
    assert rows(splits)["val"][1] == rows(splits)["test"][1]


def complaint(*arguments: Path, **options: object) -> str:
    with pytest.raises(UserError) as caught:
        load_splits(*arguments, **options)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_an_unknown_label(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "1.mp4 walk", "2.mp4 jump")
    write(tmp_path / "val.csv", "3.mp4 walk", "4.mp4 fly")
    assert complaint(tmp_path) == f"{tmp_path / 'val.csv'}:2: the class 'fly' is not among the 2 known ones"


def test_a_label_beyond_the_number_of_classes(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "1.mp4 0", "2.mp4 1", "3.mp4 2")
    message = complaint(tmp_path / "train.csv", num_classes=2)
    assert message == (
        f"{tmp_path / 'train.csv'}: the label of {tmp_path / '3.mp4'} is 2, expected less than 2, which is --nb_classes"
    )
    write(tmp_path / "val.csv", "4.mp4 7", "5.mp4 1")
    assert complaint(tmp_path) == (
        f"{tmp_path / 'val.csv'}: the label of {tmp_path / '4.mp4'} is 7, expected less than 3, the number of classes"
    )


def test_another_number_of_classes_than_names(tmp_path: Path) -> None:
    tree(tmp_path, 5)
    assert complaint(tmp_path, num_classes=4) == f"--nb_classes 4: expected 3, the classes that {tmp_path} names"


def test_a_class_without_training_videos(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "1.mp4 0", "2.mp4 3")
    write(tmp_path / "val.csv", "3.mp4 0", "4.mp4 3")
    assert complaint(tmp_path) == (
        f"{tmp_path / 'train.csv'}: 2 of 4 classes have no training video: 1, 2; expected at least one for each"
    )
    (tmp_path / "train.csv").write_text("1.mp4 0\n2.mp4 1\n")
    assert "expected less than 2" in complaint(tmp_path)


@pytest.mark.parametrize(("label", "num_classes"), [(10**9, None), (1, 10**9)])
def test_a_label_that_slipped_costs_no_memory(tmp_path: Path, label: int, num_classes: int | None) -> None:
    """A name for each of a billion classes would take 17 GB: the address space ends far below."""
    write(tmp_path / "train.csv", "1.mp4 0", f"2.mp4 {label}")
    write(tmp_path / "val.csv", "3.mp4 0")
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, limits[1]))
    try:
        told = complaint(tmp_path, num_classes=num_classes)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    count = num_classes or label + 1
    assert told == (
        f"{tmp_path / 'train.csv'}: {count - 2} of {count} classes have no training video; expected at least one for "
        f"each, and the largest label is {label}, that of {tmp_path / '2.mp4'}"
    )


def test_a_class_folder_without_videos(tmp_path: Path) -> None:
    tree(tmp_path, 5)
    (tmp_path / "d").mkdir()
    assert complaint(tmp_path) == f"{tmp_path / 'd'}: no video in the folder of this class; add some or remove it"


@pytest.mark.parametrize("labels", [("sing", "dance"), ("0", "1")])
def test_a_test_list_with_none_of_the_training_classes(tmp_path: Path, labels: tuple[str, str]) -> None:
    first, second = labels
    write(tmp_path / "train.csv", f"1.mp4 {first}", "2.mp4 2" if first == "0" else f"2.mp4 {first}")
    write(tmp_path / "val.csv", f"3.mp4 {first}")
    write(tmp_path / "test.csv", f"4.mp4 {second}")
    message = complaint(tmp_path)
    assert message.startswith(f"{tmp_path / 'test.csv'}: none of its ")
    assert "training" in message


def test_videos_without_labels(tmp_path: Path) -> None:
    touch(tmp_path, "1.mp4", "2.mp4")
    assert complaint(tmp_path) == (
        f"{tmp_path}: {tmp_path / '1.mp4'} has no label; expected one in each row of a list, or a folder for each class"
    )


def test_nothing_to_train_on(tmp_path: Path) -> None:
    write(tmp_path / "val.csv", "1.mp4 0")
    assert complaint(tmp_path).startswith(f"{tmp_path}: has val.csv but no training data")


def test_nothing_to_validate_with(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.mp4", "b/1.mp4")
    assert "one video in each class cannot be split" in complaint(tmp_path)


def test_a_name_that_stands_twice(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "1.mp4 0", "2.mp4 1")
    (tmp_path / "classes.txt").write_text("walk\nwalk\n")
    assert "classes.txt:2: the class 'walk' is already on line 1" in complaint(tmp_path)


def test_names_beside_numbers_are_not_guessed(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "1.mp4 0", "2.mp4 1")
    write(tmp_path / "val.csv", "3.mp4 walk", "4.mp4 jump")
    with pytest.raises(UserError, match=r"val.csv: labels are names \(jump, walk\), those of .*train.csv are numbers"):
        load_splits(tmp_path)
    (tmp_path / "classes.txt").write_text("walk\njump\n")
    assert rows(load_splits(tmp_path))["val"] == [("3.mp4", 0), ("4.mp4", 1)]


def test_numbers_of_a_list_elsewhere_are_those_of_training(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    write(here / "train.csv", "a.mp4 0", "b.mp4 1")
    (here / "classes.txt").write_text("cat\ndog\n")
    write(there / "test.csv", "c.mp4 0", "d.mp4 1")
    (there / "classes.txt").write_text("dog\ncat\n")
    for source in (there, there / "test.csv"):
        with pytest.raises(UserError, match=r"classes\.txt: class 0 is 'dog', expected 'cat', as in .*train\.csv$"):
            load_splits(here, eval_data_path=source)
    (there / "classes.txt").write_text("cat\ndog\nowl\n")
    assert load_splits(here, eval_data_path=there).notes == (
        f"{there / 'classes.txt'}: 3 class names, 2 in {here / 'train.csv'}: labels are taken as its numbers",
    )
    (there / "classes.txt").unlink()
    assert load_splits(here, eval_data_path=there).notes == ()


def test_numbers_are_not_those_of_sorted_names(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "a.mp4 zebra", "b.mp4 ape")
    write(tmp_path / "test.csv", "c.mp4 0", "d.mp4 1")
    message = (
        r"test\.csv: labels are numbers, those of .*train\.csv are names \(ape, zebra\); expected names in both, or"
    )
    with pytest.raises(UserError, match=message):
        load_splits(tmp_path)
    # The file says which class each number is.
    (tmp_path / "classes.txt").write_text("zebra\nape\n")
    splits = load_splits(tmp_path)
    assert rows(splits)["train"] == [("a.mp4", 0), ("b.mp4", 1)]
    assert rows(splits)["test"] == [("c.mp4", 0), ("d.mp4", 1)]


def test_a_video_listed_twice_is_in_one_split(tmp_path: Path) -> None:
    videos = [f"{number}.mp4 {number % 3}" for number in range(60)]
    write(tmp_path / "all.csv", *videos, *videos, *videos[::2])
    found = rows(load_splits(tmp_path / "all.csv"))
    names = {split: {name for name, _ in part} for split, part in found.items()}
    assert not names["train"] & (names["val"] | names["test"])
    assert not names["val"] & names["test"]
    assert [len(part) for part in names.values()] == [48, 6, 6]
    assert sum(map(len, found.values())) == 150
