"""Custom data sets: list files, folders of splits, a folder for each class, or unlabelled videos."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np

from adamae.data.annotations import Annotations
from adamae.data.class_names import class_names_beside
from adamae.data.class_numbers import names_and_numbers
from adamae.data.list_rows import UNLABELLED, differing_label, is_number, read_rows
from adamae.data.preparation.plan import PlannedVideo, PreparationPlan
from adamae.data.preparation.problems import Problems
from adamae.data.preparation.source_tree import SourceTree
from adamae.data.split_names import SPLITS
from adamae.data.splits import automatic_split, find_splits
from adamae.data.threads import in_threads
from adamae.data.walking import folders_in
from adamae.errors import UserError
from adamae.lookup import is_file

# Position, path below the root or absolute, and label.
_ListRow: TypeAlias = "tuple[str, str, str | None]"


def plan_folder(tree: SourceTree, split: int, problems: Problems) -> PreparationPlan:
    """See ``layouts``. Supports the layouts that fine-tuning accepts as ``--data_path`` (see ``splits``).

    Raises:
        UserError: A list is malformed, a label is not a class number, labels are names in one list and numbers in
            another, or there is a split but no training split.
    """
    found = find_splits(tree.root)
    if any(map(is_file, found.values())):
        return _plan_lists(tree, found, problems)
    if found["train"] != tree.root:
        return _plan_parted(tree, found, problems)
    if not all(os.sep in path for path in tree.videos):
        videos = [PlannedVideo("train", path, UNLABELLED) for path in tree.videos]
        return PreparationPlan(
            (), videos, len(videos), (f"not every {tree.noun} lies in a folder of its class, so there are no labels",)
        )
    return _plan_classes(tree, problems)


def _plan_classes(tree: SourceTree, problems: Problems) -> PreparationPlan:
    """Plan a folder for each class; each class is split by itself."""
    classes = _classes_of(tree.videos)
    _note_empty(tree, tree.root, classes, problems)
    labels = {name: number for number, name in enumerate(classes)}
    numbers = np.array([labels[path.partition(os.sep)[0]] for path in tree.videos], np.int64)
    videos = Annotations.of(tree.videos, numbers, root=str(tree.root), classes=classes, source=str(tree.root))
    try:
        parts = automatic_split(videos)
        note = (
            f"no official split: every tenth {tree.noun} of each class, by a hash of its path, goes to val and to test"
        )
    except UserError as error:
        parts, note = {"train": videos}, f"{error}; all are in train.csv"
    planned = [
        PlannedVideo(part, os.path.relpath(parts[part].path(row), tree.root), int(parts[part].labels[row]))
        for part in SPLITS
        if part in parts
        for row in range(len(parts[part]))
    ]
    return PreparationPlan(tuple(classes), planned, len(planned), (note,))


def _plan_parted(tree: SourceTree, found: dict[str, Path], problems: Problems) -> PreparationPlan:
    """Plan folders train, val and test with a folder for each class in them."""
    inside = {
        part: (f"{place.name}/", [path for path in tree.videos if path.startswith(f"{place.name}/")])
        for part, place in found.items()
    }
    prefix, training = inside["train"]
    classes = _classes_of([path.removeprefix(prefix) for path in training])
    _note_empty(tree, found["train"], classes, problems)
    labels = {name: number for number, name in enumerate(classes)}
    planned = []
    for part in SPLITS:
        prefix, videos = inside.get(part, ("", []))
        for path in videos:
            name = path.removeprefix(prefix).partition(os.sep)[0]
            if name in labels and path.count(os.sep) > 1:
                planned.append(PlannedVideo(part, path, labels[name]))
            else:
                reason = f"{name!r} is not among the {len(classes)} classes of {found['train']}; skipped"
                problems.add("unknown_class", path, reason)
    listed = {path for _, videos in inside.values() for path in videos}
    for path in tree.videos:
        if path not in listed:
            problems.add("unlisted", path, f"lies outside {', '.join(prefix for prefix, _ in inside.values())}")
    return PreparationPlan(tuple(classes), planned, len(planned), ())


def _plan_lists(tree: SourceTree, found: dict[str, Path], problems: Problems) -> PreparationPlan:
    """Plan existing lists, whose videos may be anywhere."""
    lists = {part: list(_rows_of(found[part], tree.root)) for part in SPLITS if part in found}
    rows = [(part, *row) for part, its_rows in lists.items() for row in its_rows]
    named = {part: _has_names(its_rows) for part, its_rows in lists.items()}
    names = class_names_beside(tree.root)
    if names is None:
        _check_kinds(found, lists, named)
        if any(named.values()):
            names = tuple(sorted({label for _, _, label in lists["train"] if label is not None}))
        else:
            places = {int(label): place for _, place, _, label in reversed(rows) if label is not None}
            _check_numbers(places, len(rows), tree.noun)
    positions = {name: number for number, name in enumerate(names or ())}
    there = in_threads(os.path.isfile, [os.path.join(tree.root, path) for _, _, path, _ in rows])  # noqa: PTH118
    seen: dict[str, str] = {}
    planned = []
    for (part, place, path, label), is_there in zip(rows, there, strict=True):
        number = positions.get(label) if label is not None and named[part] else _class_number(label, names)
        if number is None:
            problems.add("unknown_class", place, f"{label!r} is not among the {len(names or ())} classes; skipped")
        elif path in seen:
            problems.add("duplicate", place, f"{path} is already listed in {seen[path]}; skipped")
        elif not is_there:
            problems.add("missing", place, f"no {tree.noun} {tree.root / path}")
        else:
            seen[path] = place
            planned.append(PlannedVideo(part, path, number))
    for path in tree.videos:
        if path not in seen:
            problems.add("unlisted", path, "no list names it")
    return PreparationPlan(tuple(names or ()), planned, len(rows), ())


def _class_number(label: str | None, names: tuple[str, ...] | None) -> int | None:
    """Return the class of a label that is a number; None if there are fewer classes."""
    number = UNLABELLED if label is None else int(label)
    return number if names is None or UNLABELLED <= number < len(names) else None


def _has_names(rows: list[_ListRow]) -> bool:
    """Return whether the labels of a list are names.

    Raises:
        UserError: Some are names and some are numbers, which training refuses, too.
    """
    # A list has labels in all rows or in none.
    labels = [label for *_, label in rows if label is not None]
    if not labels:
        return False
    differing = differing_label(labels)
    if differing is not None:
        row, reason = differing
        raise UserError(f"{rows[row][0]}: {reason}")
    return not is_number(labels[0])


def _check_kinds(found: dict[str, Path], lists: dict[str, list[_ListRow]], named: dict[str, bool]) -> None:
    """Raise an error for names in the training list and numbers in another, or the reverse, without ``classes.txt``."""
    labels = {part: [label for *_, label in rows if label is not None] for part, rows in lists.items()}
    for part, its_labels in labels.items():
        unlabelled = not named[part] and all(int(label) == UNLABELLED for label in its_labels)
        if named[part] != named["train"] and labels["train"] and not unlabelled:
            names = sorted(set(labels["train"] if named["train"] else its_labels))
            raise names_and_numbers(found[part], found["train"], names, names_in_training=named["train"])


def _check_numbers(places: dict[int, str], num_rows: int, noun: str) -> None:
    """Raise an error for labels that are not class numbers, as fine-tuning does.

    Args:
        places: First line with each label.
        num_rows: Number of rows of all lists.
        noun: "video" or "image", for messages.
    """
    for label, place in places.items():
        if label < UNLABELLED:
            raise UserError(f"{place}: the label is {label}, expected 0 or more, or -1 for none")
    largest = max(places, default=UNLABELLED)
    lacking = largest + 1 - len(places.keys() - {UNLABELLED})
    if lacking > num_rows:
        raise UserError(
            f"{places[largest]}: the label is {largest}, but {lacking} of {largest + 1} classes have no {noun}; "
            "expected at least one for each"
        )


def _rows_of(listed: Path, root: Path) -> Iterator[_ListRow]:
    """Yield the rows of a list."""
    for line, _, video, label, _ in read_rows(listed):
        name = video if "." in video[video.rfind("/") + 1 :] else f"{video}.mp4"
        path = os.path.relpath(listed.parent / name, root)
        yield f"{listed}:{line}", os.path.abspath(root / path) if path.startswith("..") else path, label  # noqa: PTH100


def _classes_of(paths: list[str]) -> list[str]:
    return sorted({path.partition(os.sep)[0] for path in paths if os.sep in path})


def _note_empty(tree: SourceTree, folder: Path, classes: list[str], problems: Problems) -> None:
    for entry in folders_in(folder):
        if entry.name not in classes and entry.resolve() != tree.left_out.resolve():
            problems.add("empty_class", str(entry), f"no {tree.noun} in it, so {entry.name!r} is no class")
