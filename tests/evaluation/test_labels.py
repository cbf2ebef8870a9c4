"""Names of classes, and lists whose labels are not a network's."""

from __future__ import annotations

from pathlib import Path

import pytest

from adamae.data.class_names import read_class_names
from adamae.errors import UserError
from adamae.evaluation.labels import (
    find_class_names,
    find_test_list,
    load_labelled,
    notes_on_labels,
    notes_on_names,
)
from tests.evaluation.tiny import NAMES


def listed(folder: Path, *labels: str) -> Path:
    (folder / "v.mp4").touch()
    (folder / "test.csv").write_text("".join(f"v.mp4 {label}\n" for label in labels))
    return folder / "test.csv"


def test_where_names_come_from(tmp_path: Path) -> None:
    place = listed(tmp_path, "0")
    assert find_class_names(2, source=place) is None
    (tmp_path / "classes.txt").write_text("x\ny\n")
    assert find_class_names(2, source=place) == ("x", "y")
    assert find_class_names(2, source=tmp_path) == ("x", "y")
    assert find_class_names(3, source=place) is None
    assert find_class_names(2, source=place, stored=("p", "q")) == ("p", "q")
    given = tmp_path / "mine.txt"
    given.write_text("\ufeffone thing\n two \n\n", encoding="utf-8")
    assert find_class_names(2, source=place, given=given, stored=("p", "q")) == ("one thing", "two")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "mine.txt: is empty, expected one class name on each line"),
        ("a\n\nb\n", "mine.txt:2: the name is empty"),
        ("a\nb\na\n", "mine.txt:3: the class 'a' is already on line 1"),
        ("a\nb\nc\n", "mine.txt: 3 class names, expected 2, the number of classes of the model"),
    ],
)
def test_files_of_names_that_do_not_fit(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.txt").write_text(text)
    with pytest.raises(UserError, match=message):
        find_class_names(2, given=tmp_path / "mine.txt")


def test_a_missing_file_of_names(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no.txt: the class names cannot be read \(No such file or directory\)"):
        read_class_names(tmp_path / "no.txt")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (("0", "5", "7"), r"test.csv:3: the label is 7, expected less than 5"),
        (("left", "sideways"), r"test.csv:2: the class 'sideways' is not among the 5 known ones"),
        (("cat", "dog"), r"none of its 2 classes \(cat, dog\) is among the 5 of the model \(left, right, up, down"),
        (("-1", "-1"), r"test.csv: no video has a label"),
    ],
)
def test_labels_that_are_not_the_network_s(tmp_path: Path, labels: tuple[str, ...], message: str) -> None:
    place = listed(tmp_path, *labels)
    with pytest.raises(UserError, match=message):
        load_labelled(place, 5, NAMES)


def test_a_label_beyond_the_classes_without_names(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"test.csv:2: the label is 5, expected less than 5"):
        load_labelled(listed(tmp_path, "4", "5"), 5, None)


def test_names_get_the_network_s_numbers(tmp_path: Path) -> None:
    found = load_labelled(listed(tmp_path, "still", "left"), 5, NAMES)
    assert found.labels.tolist() == [4, 0]


def test_names_without_numbers(tmp_path: Path) -> None:
    place = listed(tmp_path, "b", "a", "b")
    # With two classes, too: sorted order need not be the network's.
    for count in (2, 5):
        message = f"its labels are 2 names and the network has {count} classes without names: give"
        with pytest.raises(UserError, match=message):
            load_labelled(place, count, None)


def test_what_of_a_data_set_is_scored(tmp_path: Path) -> None:
    (tmp_path / "test" / "left").mkdir(parents=True)
    assert find_test_list(tmp_path) == (tmp_path / "test", [])
    place = listed(tmp_path, "0")
    assert find_test_list(tmp_path) == (tmp_path, [])
    assert find_test_list(place) == (place, [])
    chosen, (note,) = find_test_list(tmp_path / "test")
    assert chosen == tmp_path / "test"
    assert note.endswith("has no test.csv: everything is scored, including what may be training data")


def test_notes(tmp_path: Path) -> None:
    found = load_labelled(listed(tmp_path, "0", "-1", "1"), 5, NAMES)
    unlabelled, absent = notes_on_labels(found, NAMES)
    assert unlabelled == "1 of 3 videos have no label and are ignored"
    assert absent.startswith("3 of 5 classes have no video in ")
    assert absent.endswith(": up, down, still; they are excluded from the mean over classes")
    everything = load_labelled(listed(tmp_path, "0", "1", "2", "3", "4"), 5, NAMES)
    assert notes_on_labels(everything, NAMES) == []


def test_a_given_file_that_renames_classes_is_noted() -> None:
    assert notes_on_names(None, ("a", "b"), ("a", "c")) == []
    assert notes_on_names("f.txt", ("a", "b"), ("a", "b")) == []
    assert notes_on_names("f.txt", ("a", "b"), ()) == []
    assert notes_on_names("f.txt", ("a", "b"), ("0", "1")) == []
    assert notes_on_names("f.txt", ("a", "b"), ("a", "c")) == ["f.txt: class 1 is 'b', 'c' in the checkpoint"]
