"""Whether numeric labels mean the same classes."""

from __future__ import annotations

from pathlib import Path

import pytest

from adamae.data.class_numbers import check_same_classes, compare_numbers
from adamae.errors import UserError


def test_numbers_of_other_classes_are_refused(tmp_path: Path) -> None:
    place = tmp_path / "test.csv"
    place.write_text("v.mp4 0\nv.mp4 1\n")
    assert compare_numbers(place, ("left", "right"), "run") == []
    (tmp_path / "classes.txt").write_text("left\nup\nright\n")
    for source in (place, tmp_path):
        with pytest.raises(UserError, match=r"classes\.txt: class 1 is 'up', expected 'right', as in run$"):
            compare_numbers(source, ("left", "right", "up"), "run")
    assert compare_numbers(place, ("left", "up", "right"), "run") == []
    # A network that was trained on numbers has no names to compare.
    assert compare_numbers(place, ("0", "1", "2"), "run") == []
    note = f"{tmp_path / 'classes.txt'}: 3 class names, 2 in run: labels are taken as its numbers"
    for names in (("left", "up"), ("0", "1")):
        assert compare_numbers(place, names, "run") == [note]


def test_a_data_set_of_numbers_has_no_names_to_compare() -> None:
    check_same_classes("list", ("0", "1"), ("a", "b"), "run")
    with pytest.raises(UserError, match="list: class 0 is 'b', expected 'a', as in run"):
        check_same_classes("list", ("b", "a"), ("a", "b"), "run")
