"""ImageNet and data sets with its layout: class folders for training, class folders or a label list for validation."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from adamae.data.list_rows import UNLABELLED
from adamae.data.preparation.label_text import read_lines
from adamae.data.preparation.mat_file import read_struct
from adamae.data.preparation.plan import PlannedVideo, PreparationPlan
from adamae.data.preparation.problems import Problems
from adamae.data.preparation.source_tree import SourceTree
from adamae.data.split_names import SPLIT_FILES, SPLITS
from adamae.errors import UserError

# ILSVRC2012's development kit: the class number of the n-th image on the n-th line, and the file that maps class
# numbers to classes, which has one of two names depending on the release.
_TRUTH, _META, _MAP = "validation_ground_truth.txt", "meta.mat", "map_clsloc.txt"
_FIELD = re.compile(r"[\s,;]+")
_LAST_NUMBER = re.compile(r"(\d+)\D*$")


def plan_imagenet(tree: SourceTree, split: int, problems: Problems) -> PreparationPlan:
    """See ``layouts``. Classes are the folders of training, in alphabetical order, as in torchvision and timm.

    Raises:
        UserError: There is no training folder with classes in it, or there are no labels for validation.
    """
    inside = _by_split(tree.videos)
    train = [(path, name) for path, name in inside["train"] if "/" in name]
    if not train:
        raise UserError(
            f"{tree.root}: expected a folder train with a folder of images for each class in it, at any depth; for "
            "other layouts: adamae prepare folder"
        )
    classes = tuple(sorted({_class_folder(name) for _, name in train}))
    labels = {name: number for number, name in enumerate(classes)}
    planned = [PlannedVideo("train", path, labels[_class_folder(name)]) for path, name in train]
    for part in ("val", "test"):
        planned += _plan_part(part, inside[part], tree, labels, problems)
    seen = {path for path, _ in (*train, *inside["val"], *inside["test"])}
    for path in tree.videos:
        if path not in seen:
            problems.add("unlisted", path, "lies outside the class folders of train, and outside val and test")
    return PreparationPlan(classes, planned, len(seen), ())


def _plan_part(
    part: str, images: Sequence[tuple[str, str]], tree: SourceTree, labels: Mapping[str, int], problems: Problems
) -> list[PlannedVideo]:
    """Plan the images of validation or test, labelled by their folders or a list; test images may have no labels."""
    known = [
        PlannedVideo(part, path, labels[folder]) for path, name in images if (folder := _class_folder(name)) in labels
    ]
    others = [path for path, name in images if _class_folder(name) not in labels]
    if known:
        for path in others:
            problems.add("unknown_class", path, f"not in a folder of the {len(labels)} classes of training; skipped")
        return known
    truth = _labels_of(others, part, tree, labels, problems) if others else {}
    if others and not truth and part == "val":
        raise UserError(
            f"{tree.root}: the images of val, for example {others[0]}, are in no folder of a class; expected a list of "
            f"their classes in SRC or --annotations: LOC_val_solution.csv, or ILSVRC2012_{_TRUTH} with {_META} or "
            f"{_MAP}"
        )
    return [PlannedVideo(part, path, truth.get(_stem(path), UNLABELLED)) for path in others]


def _by_split(paths: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """Return (path, path below the split's folder) of the images of each split; that folder may be at any depth."""
    names = {name: part for part in SPLITS for name in SPLIT_FILES[part]}
    found: dict[str, list[tuple[str, str]]] = {part: [] for part in SPLITS}
    for path in paths:
        parts = path.split("/")
        at = next((at for at, part in enumerate(parts[:-1]) if part in names), None)
        if at is not None:
            found[names[parts[at]]].append((path, "/".join(parts[at + 1 :])))
    return found


def _class_folder(name: str) -> str:
    """Return the first folder below that of the split; "" for none."""
    return name.partition("/")[0] if "/" in name else ""


def _stem(path: str) -> str:
    return os.path.splitext(path[path.rfind("/") + 1 :])[0]  # noqa: PTH122 (speed)


def _labels_of(
    paths: Sequence[str], part: str, tree: SourceTree, labels: Mapping[str, int], problems: Problems
) -> dict[str, int]:
    """Return the labels by image name without suffix; empty if no label file contains them.

    Raises:
        UserError: A label file is damaged.
    """
    wanted = {_stem(path) for path in paths}
    found: dict[str, int] = {}
    for listed in tree.label_files:
        if part in listed.name.lower():
            found |= dict(_named(listed, wanted, labels))
    truth = next((path for path in tree.label_files if path.name.endswith(_TRUTH)), None)
    if not found and part == "val" and truth is not None:
        found = _numbered(wanted, truth, tree, labels)
    for path in paths if found else ():
        if _stem(path) not in found:
            problems.add("no_label", path, "no list tells its class")
    return found


def _named(path: Path, wanted: set[str], labels: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """Read a list of names and classes: Kaggle's LOC_val_solution.csv, Tiny ImageNet's val_annotations.txt."""
    if path.suffix.lower() not in (".csv", ".txt"):
        return
    for _, text in read_lines(path):
        name, *rest = _FIELD.split(text)
        if rest and _stem(name) in wanted and rest[0] in labels:
            yield _stem(name), labels[rest[0]]


def _numbered(wanted: set[str], truth: Path, tree: SourceTree, labels: Mapping[str, int]) -> dict[str, int]:
    """Read ILSVRC2012's ground truth: the n-th line is the class number of the n-th image."""
    classes = _classes_by_number(tree)
    told: list[str] = []
    for line, text in read_lines(truth):
        if not text.isdecimal() or int(text) not in classes:
            raise UserError(f"{truth}:{line}: got {text!r}, expected the number of a class, 1 to {len(classes)}")
        told.append(classes[int(text)])
    found = {}
    for name in wanted:
        number = _LAST_NUMBER.search(name)
        if number and 1 <= int(number[1]) <= len(told) and told[int(number[1]) - 1] in labels:
            found[name] = labels[told[int(number[1]) - 1]]
    return found


def _classes_by_number(tree: SourceTree) -> dict[int, str]:
    """Return the names of the class folders by official number, from 1.

    Raises:
        UserError: There is no file with them, or it is malformed.
    """
    for path in tree.label_files:
        if path.name == _META:
            pairs = [(one.get("ILSVRC2012_ID"), one.get("WNID")) for one in read_struct(path, "synsets")]
            return {int(number): name for number, name in pairs if isinstance(number, float) and isinstance(name, str)}
        if path.name == _MAP:
            rows = [(line, text.split()) for line, text in read_lines(path)]
            wrong = next((line for line, row in rows if len(row) < 2 or not row[1].isdecimal()), None)
            if wrong is not None:
                raise UserError(f"{path}:{wrong}: expected CLASS NUMBER NAME, such as n02119789 1 kit_fox")
            return {int(row[1]): row[0] for _, row in rows}
    raise UserError(f"{tree.root}: ILSVRC2012_{_TRUTH} without {_META} or {_MAP} in SRC or --annotations")
