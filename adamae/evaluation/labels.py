"""Names of a network's classes, and the labels of a list as its classes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from adamae.data.annotations import Annotations, load_annotations
from adamae.data.class_names import class_names_beside, read_class_names
from adamae.data.class_numbers import first_difference, numbered
from adamae.data.image_files import ImageFiles
from adamae.data.list_rows import UNLABELLED
from adamae.data.shards.names import is_remote, names_shards, shard_folder_of
from adamae.data.walking import folders_in
from adamae.errors import UserError
from adamae.plain_text import counted, some_of


def find_class_names(
    num_classes: int,
    *,
    source: str | Path | None = None,
    given: str | Path | None = None,
    stored: Sequence[str] = (),
) -> tuple[str, ...] | None:
    """Find class names: in the given file, else in the checkpoint, else in ``classes.txt`` beside a list.

    Args:
        num_classes: Required number of names.
        source: A list or folder that may have ``classes.txt`` beside it or in it.
        given: File given by the user.
        stored: Names in the checkpoint.

    Returns:
        As many names as classes, or None if they are unknown.

    Raises:
        UserError: If the file given by the user has another number of names.
    """
    if given is not None:
        names = read_class_names(given)
        if len(names) != num_classes:
            raise UserError(
                f"{given}: {len(names)} class names, expected {num_classes}, the number of classes of the model"
            )
        return names
    if len(stored) == num_classes:
        return tuple(stored)
    if source is not None and not is_remote(str(source)):
        beside = class_names_beside(source)
        # Any list may have such a file; if the number of names differs, it is not for this network.
        return beside if beside is not None and len(beside) == num_classes else None
    return None


def notes_on_names(given: str | Path | None, names: Sequence[str], stored: Sequence[str]) -> list[str]:
    """Return a note if the file of ``--classes`` and the checkpoint name a class differently, else nothing.

    Args:
        given: The file; None without one.
        names: Names in the file.
        stored: Names in the checkpoint; empty without any.
    """
    number = None if given is None else first_difference(names, stored)
    if number is None or tuple(stored) == numbered(len(stored)):
        return []
    return [f"{given}: class {number} is {names[number]!r}, {stored[number]!r} in the checkpoint"]


def load_labelled(
    source: str | Path,
    num_classes: int,
    names: Sequence[str] | None,
    *,
    data_root: str | Path | None = None,
    image_files: ImageFiles = "auto",
) -> Annotations:
    """Load a list whose labels are classes of a network.

    Args:
        source: See :func:`~adamae.data.annotations.load_annotations`; of a folder, its test list.
        num_classes: Number of the network's classes.
        names: Names of the network's classes, if known.
        data_root: Folder to which a list's relative paths are relative.
        image_files: Whether image files are images or frames of videos.

    Raises:
        UserError: If a label is not one of the classes, no video has a label, or the list has class names whose numbers
            are unknown.
    """
    load = partial(load_annotations, source, data_root=data_root, split="test", image_files=image_files)
    annotations = load()
    listed = annotations.classes
    if listed is not None and names is None:
        raise UserError(
            f"{annotations.source}: its labels are {len(listed)} names and the network has {num_classes} classes "
            "without names: give the class names with --classes FILE"
        )
    if listed is not None and names is not None and not set(listed) & set(names):
        raise UserError(
            f"{annotations.source}: none of its {len(listed)} classes ({some_of(listed)}) "
            f"is among the {num_classes} of the model ({some_of(names)})"
        )
    if listed is not None or annotations.labels.max(initial=UNLABELLED) >= num_classes:
        # Read again with the known classes, so that the error for a wrong label contains its line.
        annotations = load(classes=names or numbered(num_classes))
    if not (annotations.labels != UNLABELLED).any():
        raise UserError(
            f"{annotations.source}: no {annotations.noun} has a label, expected PATH LABEL on each line; "
            "`adamae predict` names classes without labels"
        )
    return annotations


def find_test_list(source: str | Path) -> tuple[str | Path, list[str]]:
    """Find the part of a data set to score: ``test.csv`` or the folder ``test``, else all of it.

    Returns:
        A list, a folder or shards, and notes on the choice.
    """
    path = Path(source)
    if names_shards(source) or not path.is_dir() or (path / "test.csv").is_file():
        return source, []
    inside = shard_folder_of(path, "test")
    if inside is not None:
        return inside, []
    inside = path / "test"
    if inside.is_dir() and folders_in(inside):
        return inside, []
    return path, [f"{path} has no test.csv: everything is scored, including what may be training data"]


def notes_on_labels(annotations: Annotations, names: Sequence[str]) -> list[str]:
    """Return notes on the labels of a list, one line each.

    Args:
        annotations: The list, with labels below the number of names.
        names: Names of all classes.
    """
    labels, notes = annotations.labels, []
    unlabelled = int((labels == UNLABELLED).sum())
    if unlabelled:
        notes.append(f"{unlabelled} of {counted(len(labels), annotations.noun)} have no label and are ignored")
    there = np.bincount(labels[labels != UNLABELLED], minlength=len(names)) > 0
    absent = [names[number] for number in np.flatnonzero(~there).tolist()]
    if absent:
        notes.append(
            f"{len(absent)} of {len(names)} classes have no {annotations.noun} in {annotations.source}: "
            f"{some_of(absent)}; they are excluded from the mean over classes"
        )
    return notes
