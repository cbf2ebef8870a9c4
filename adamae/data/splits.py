"""The three lists of a labelled data set: training, validation and test.

The source is a folder with ``train.csv`` (and ``val.csv``, ``test.csv``), a folder with the sub-folders ``train``
(``val``, ``test``) that contain one folder per class or shards, a folder with one sub-folder per class, a single list,
or shards. Missing splits are split off the training videos, class by class and deterministically.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from adamae.data.annotations import SHARD_WINDOW, Annotations, load_annotations
from adamae.data.class_names import class_names_beside
from adamae.data.class_numbers import compare_numbers, names_and_numbers
from adamae.data.image_files import ImageFiles
from adamae.data.list_rows import UNLABELLED
from adamae.data.shards.names import is_shard_folder, names_shards
from adamae.data.split_names import SPLIT_FILES, SPLITS
from adamae.data.walking import folders_in
from adamae.errors import UserError
from adamae.lookup import is_file, is_folder
from adamae.plain_text import some_of

# Fraction of each class's videos in the validation split, and in the test split, of an automatic split.
_SHARE = 0.1


@dataclass(frozen=True)
class Splits:
    """A labelled data set.

    Attributes:
        train: Training videos.
        val: Validation videos.
        test: Test videos.
        classes: Class names, label 0 first; numbers as strings if the data set has no names.
        notes: Notes on class names, and the origin of each split that has no list, one sentence each.
    """

    train: Annotations
    val: Annotations
    test: Annotations
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def num_classes(self) -> int:
        """Number of classes, C."""
        return len(self.classes)


def load_splits(
    data_path: str | Path,
    *,
    eval_data_path: str | Path | None = None,
    data_root: str | Path | None = None,
    num_classes: int | None = None,
    shard_window: int = SHARD_WINDOW,
    image_files: ImageFiles = "auto",
) -> Splits:
    """Find the training, validation and test videos and check their labels.

    Args:
        data_path: Folder, list or shards, see above. A list named ``train.csv`` stands for its folder.
        eval_data_path: A list of videos for validation and test, or a folder with ``val.csv`` and ``test.csv``, that
            replace those of ``data_path``.
        data_root: Folder that relative paths of lists start from; None for each list's own folder.
        num_classes: Number of classes; None to infer it from the class names or the largest training label.
        shard_window: Number of shards whose videos are shuffled together in training.
        image_files: Whether image files are images or frames of videos; see
            :func:`~adamae.data.image_files.image_files_for`.

    Raises:
        UserError: If a list is missing or malformed, or a label is missing, unknown, or without training videos.
    """
    place = Path(data_path)
    if place.name == "train.csv":
        place = place.parent
    shards = names_shards(data_path)
    whole = shards or not is_folder(place)
    # A Path would alter a URL.
    found: dict[str, str | Path] = {"train": data_path} if whole else {**find_splits(place)}
    if eval_data_path is not None:
        found |= _find_evaluation(eval_data_path)
    names = None if shards else class_names_beside(place)
    load = partial(load_annotations, data_root=data_root, image_files=image_files)
    train = load(found["train"], classes=names, shard_window=shard_window)
    _check_folders(Path(found["train"]), train)
    _check_labelled(train)
    sorted_names = names is None and not shards
    others, notes = {}, {}
    for split, path in found.items():
        if split != "train":
            others[split], notes[split] = load_other_split(load, path, split, train, sorted_names=sorted_names)
    classes = _class_names(train, num_classes)
    train, others, more = _complete(train, others)
    splits = Splits(train, others["val"], others["test"], classes, (*dict.fromkeys(chain(*notes.values())), *more))
    _check_labels(splits)
    return splits


def find_splits(folder: Path) -> dict[str, Path]:
    """Return the list or folder of each split; the folder itself for training if it has no splits.

    Raises:
        UserError: If there are splits, but none for training.
    """
    lists = {split: path for split in SPLITS if (path := _list_of(folder, split))}
    folders = {split: path for split in SPLITS if (path := _folder_of(folder, split))}
    for found in (lists, folders):
        if "train" in found:
            return found
        if found:
            there = ", ".join(path.name for path in found.values())
            raise UserError(f"{folder}: has {there} but no training data; expected train.csv or a folder named train")
    return {"train": folder}


def _find_evaluation(source: str | Path) -> dict[str, str | Path]:
    place = Path(source)
    if not is_folder(place) or names_shards(place):
        return {"val": source, "test": source}
    found = {split: path for split in ("val", "test") if (path := _list_of(place, split) or _folder_of(place, split))}
    if not found:
        return {"val": place, "test": place}
    return {"val": found.get("val", found.get("test", place)), "test": found.get("test", found.get("val", place))}


def _list_of(folder: Path, split: str) -> Path | None:
    return next((path for name in SPLIT_FILES[split] if is_file(path := folder / f"{name}.csv")), None)


def _folder_of(folder: Path, split: str) -> Path | None:
    # A sub-folder is a split if it contains folders or shards; otherwise it is a class of that name.
    places = (folder / name for name in SPLIT_FILES[split])
    return next((path for path in places if is_shard_folder(path) or _holds_folders(path)), None)


def _holds_folders(place: Path) -> bool:
    return is_folder(place) and bool(folders_in(place))


def load_other_split(
    load: Callable[..., Annotations], place: str | Path, split: str, train: Annotations, *, sorted_names: bool
) -> tuple[Annotations, list[str]]:
    """Load a validation or test list with the training list's classes.

    Args:
        load: Loads a list.
        place: The list, folder or shards.
        split: "val" or "test".
        train: The training list.
        sorted_names: Whether names in the training list are numbered in sorted order, because no file orders them.

    Returns:
        The list, and notes on its ``classes.txt``.

    Raises:
        UserError: If it has none of these classes, has an unknown class, has names where training has numbers or the
            reverse, or its ``classes.txt`` gives a number to another class.
    """
    notes: list[str] = []
    if train.classes is not None:
        own = load(place, split=split)
        if own.classes is None and own.labels.max() != UNLABELLED:
            if sorted_names and class_names_beside(place) is None:
                raise names_and_numbers(own.source, train.source, train.classes, names_in_training=True)
            notes = compare_numbers(place, train.classes, train.source)
        if own.classes is not None and not set(own.classes) & set(train.classes):
            raise UserError(
                f"{own.source}: none of its {len(own.classes)} classes ({some_of(own.classes)}) is among the "
                f"{len(train.classes)} of training ({some_of(train.classes)})"
            )
    other = load(place, classes=train.classes, split=split)
    if train.classes is None and other.classes is not None:
        raise names_and_numbers(other.source, train.source, other.classes, names_in_training=False)
    return other, notes


def _class_names(train: Annotations, num_classes: int | None) -> tuple[str, ...]:
    count = int(train.labels.max()) + 1
    if num_classes is not None and count > num_classes:
        row = int(train.labels.argmax())
        raise UserError(
            f"{train.source}: the label of {train.path(row)} is {count - 1}, expected less than {num_classes}, which "
            "is --nb_classes"
        )
    if train.classes is None:
        _check_numbers(train, num_classes or count)
    names = train.classes or tuple(str(number) for number in range(num_classes or count))
    if num_classes not in (None, len(names)):
        raise UserError(f"--nb_classes {num_classes}: expected {len(names)}, the classes that {train.source} names")
    return tuple(names)


def _check_numbers(train: Annotations, count: int) -> None:
    """Raise on a mistyped label that would imply a billion classes, before a name is created for each of them."""
    lacking = count - len(np.unique(train.labels))
    if lacking > len(train):
        row = int(train.labels.argmax())
        raise UserError(
            f"{train.source}: {lacking} of {count} classes have no training {train.noun}; expected at least one for "
            f"each, and the largest label is {train.labels[row]}, that of {train.path(row)}"
        )


def _complete(
    train: Annotations, others: dict[str, Annotations]
) -> tuple[Annotations, dict[str, Annotations], tuple[str, ...]]:
    """Add the splits that have no list."""
    if "val" in others and "test" in others:
        return train, others, ()
    if others:
        ((there, videos),) = others.items()
        missing = "test" if there == "val" else "val"
        return train, {there: videos, missing: videos}, (f"no list for {missing}: that of {there} is used for both",)
    parts = automatic_split(train)
    note = (
        f"no lists for validation and test: a tenth of the {train.noun}s of each class, chosen by a hash of the path, "
        "is used for each"
    )
    return parts["train"], {"val": parts["val"], "test": parts["test"]}, (note,)


def automatic_split(videos: Annotations) -> dict[str, Annotations]:
    """Split videos into training, validation and test, class by class.

    A tenth of each class goes to validation and a tenth to test, at least one video each if a class has three; if it
    has two, the second goes to both. All rows of one video go to the same split. Videos are ordered by a hash of the
    paths below the root, so that neither moving the folder nor another class's videos change the split of a video.
    Clips cut from one recording may end up in different splits: use the official splits of data sets that have them.
    """
    rows: dict[str, list[int]] = {split: [] for split in SPLITS}
    for label in np.unique(videos.labels):
        # A video that is listed several times must not be in training and in the test.
        listed: dict[str, list[int]] = {}
        for row in np.flatnonzero(videos.labels == label).tolist():
            listed.setdefault(videos.name(row), []).append(row)
        names = sorted(listed, key=lambda name: hashlib.sha256(name.encode("utf-8", "replace")).digest())
        count = max(round(_SHARE * len(names)), 1)
        if len(names) < 3:
            parts = {"train": names[:1], "val": names[1:], "test": names[1:]}
        else:
            parts = {"val": names[:count], "test": names[count : 2 * count], "train": names[2 * count :]}
        for split, chosen in parts.items():
            rows[split] += [row for name in chosen for row in listed[name]]
    if not rows["val"]:
        raise UserError(
            f"{videos.source}: one {videos.noun} in each class cannot be split; expected a list for validation"
        )
    return {split: videos.select(sorted(chosen)) for split, chosen in rows.items()}


def _check_folders(place: Path, train: Annotations) -> None:
    """Raise on a class folder without videos: it is a mistake rather than a class to drop."""
    if not is_folder(place) or train.classes is None or train.source != str(place):
        return
    for entry in folders_in(place):
        if entry.name not in train.classes:
            raise UserError(f"{entry}: no {train.noun} in the folder of this class; add some or remove it")


def _check_labelled(videos: Annotations) -> None:
    missing = np.flatnonzero(videos.labels == UNLABELLED)
    if len(missing):
        raise UserError(
            f"{videos.source}: {videos.path(int(missing[0]))} has no label; expected one in each row of a list, or a "
            "folder for each class"
        )


def _check_labels(splits: Splits) -> None:
    counts = {}
    for split in SPLITS:
        videos: Annotations = getattr(splits, split)
        _check_labelled(videos)
        if videos.labels.max() >= splits.num_classes:
            row = int(videos.labels.argmax())
            raise UserError(
                f"{videos.source}: the label of {videos.path(row)} is {videos.labels[row]}, expected less than "
                f"{splits.num_classes}, the number of classes"
            )
        counts[split] = np.bincount(videos.labels, minlength=splits.num_classes)
    for split in ("val", "test"):
        if not (counts[split][counts["train"] > 0]).any():
            raise UserError(
                f"{getattr(splits, split).source}: none of its classes has a training {splits.train.noun} in "
                f"{splits.train.source}"
            )
    lacking = [splits.classes[number] for number in np.flatnonzero(counts["train"] == 0)]
    if lacking:
        raise UserError(
            f"{splits.train.source}: {len(lacking)} of {splits.num_classes} classes have no training "
            f"{splits.train.noun}: "
            f"{some_of(lacking)}; expected at least one for each"
        )
