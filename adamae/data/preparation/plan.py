"""Plan of a preparation: every listed video with its file, split and label."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from adamae.data.list_rows import UNLABELLED, VIDEO_SUFFIXES
from adamae.data.preparation.problems import Problems
from adamae.data.preparation.source_tree import SourceTree


class ListedVideo(NamedTuple):
    """A row of a label file.

    Attributes:
        split: One of :data:`~adamae.data.split_names.SPLITS`.
        names: Possible names of its file, the most likely first; see :func:`match`.
        label: Number of its class, or UNLABELLED.
        file: The label file.
        line: Line number in the label file, or a description of the position.
    """

    split: str
    names: tuple[str, ...]
    label: int
    file: str
    line: int | str

    @property
    def place(self) -> str:
        """Position of the row, for messages."""
        return f"{self.file}:{self.line}"


class PlannedVideo(NamedTuple):
    """A listed video whose file exists.

    Attributes:
        split: One of :data:`~adamae.data.split_names.SPLITS`.
        source: Path of its file below the source folder.
        label: Number of its class, or UNLABELLED.
    """

    split: str
    source: str
    label: int


@dataclass
class Listing:
    """Content of a layout's label files.

    Attributes:
        classes: Class names, label 0 first.
        videos: All valid rows.
        others: Names of videos that are listed but not used, or whose row was skipped.
        notes: Notes for the report, one sentence each.
    """

    classes: tuple[str, ...] = ()
    videos: list[ListedVideo] = field(default_factory=list)
    others: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class PreparationPlan:
    """Videos and classes to prepare.

    Attributes:
        classes: Class names, label 0 first; empty if there are no labels.
        videos: Videos in the order of the lists.
        listed: Number of videos in the label files.
        notes: Notes for the report, one sentence each.
    """

    classes: tuple[str, ...]
    videos: list[PlannedVideo]
    listed: int
    notes: tuple[str, ...]


def stem(path: str) -> str:
    """Return a video's file name without folder and video suffix."""
    name = path[path.rfind("/") + 1 :]
    bare, suffix = os.path.splitext(name)  # noqa: PTH122 (speed)
    return bare if suffix.lower() in VIDEO_SUFFIXES else name


def match(
    listing: Listing, tree: SourceTree, problems: Problems, *, name_of: Callable[[str], str] = stem
) -> PreparationPlan:
    """Find the file of every row.

    If several files have a row's name, the one in the folder of its class is used, then one in a folder whose name
    starts with "replacement" (Kinetics' archives replace broken videos in this way), then the first by path.

    Args:
        listing: The rows.
        tree: The files.
        problems: Collects rows without a file, files without a row, and duplicates.
        name_of: Function from a file's path to the name that rows use for it.
    """
    files = _Files(tree.videos, name_of)
    folders = {_plain(name): number for number, name in enumerate(listing.classes)}
    used: dict[str, ListedVideo] = {}
    planned = []
    for video in listing.videos:
        found = next((paths for name in video.names if (paths := files[name])), ())
        if not found:
            problems.add("missing", video.place, f"no {tree.noun} {video.names[0]} below {tree.root}")
            continue
        path = found[0] if len(found) == 1 else _nearest(found, video.label, folders)
        if path in used:
            problems.add("duplicate", video.place, f"{path} is listed in {used[path].place} already; skipped")
            continue
        used[path] = video
        folder = folders.get(_folder(path), video.label)
        if video.label not in (folder, UNLABELLED):
            reason = f"lies in the folder of {listing.classes[folder]!r}, {video.place} says"
            problems.add("other_folder", path, f"{reason} {listing.classes[video.label]!r}; the label is taken")
        planned.append(PlannedVideo(video.split, path, video.label))
    _note_unused(files, tree.videos, used, listing, problems)
    return PreparationPlan(listing.classes, planned, len(listing.videos), tuple(listing.notes))


def number_classes(numbered: Sequence[tuple[int, str, str]], problems: Problems) -> dict[str, int]:
    """Return class names with their labels, which count from 0 in the order of the official numbers.

    Args:
        numbered: (official number, name, position for messages) of each class.
        problems: Collects duplicate names and numbers, and gaps in the numbers.
    """
    names: dict[str, str] = {}
    numbers: dict[int, str] = {}
    kept: list[tuple[int, str]] = []
    for number, name, place in numbered:
        if name in names or number in numbers:
            what = f"the class {name!r}" if name in names else f"the number {number}"
            other = names[name] if name in names else numbers[number]
            problems.add("duplicate", place, f"{what} is already listed in {other}; skipped")
            continue
        names[name] = numbers[number] = place
        kept.append((number, name))
    kept.sort()
    gap = next((before + 1 for (before, _), (after, _) in pairwise(kept) if after > before + 1), None)
    if gap is not None:
        place = names[kept[-1][1]]
        problems.add("class_gap", place, f"no class has the number {gap}, so the labels above it are not official")
    return {name: label for label, (_, name) in enumerate(kept)}


class _Files:
    """Paths by name. Nearly all names have a single path; a list for each of half a million would double the memory."""

    def __init__(self, paths: Sequence[str], name_of: Callable[[str], str]) -> None:
        self.name_of = name_of
        self._single: dict[str, str] = {}
        self._several: dict[str, list[str]] = {}
        for path in paths:
            name = name_of(path)
            first = self._single.setdefault(name, path)
            if first is not path:
                self._several.setdefault(name, [first]).append(path)

    def __getitem__(self, name: str) -> Sequence[str]:
        """Return all paths of a name."""
        if name in self._several:
            return self._several[name]
        return (self._single[name],) if name in self._single else ()


def _note_unused(
    files: _Files, paths: Sequence[str], used: Mapping[str, ListedVideo], listing: Listing, problems: Problems
) -> None:
    unused = {path: files.name_of(path) for path in paths if path not in used}
    if not unused:
        return
    asked = set(unused.values())
    listed = {name for video in listing.videos for name in video.names if name in asked}
    for path, name in unused.items():
        if name in listed:
            first = next((other for other in files[name] if other in used), files[name][0])
            problems.add("duplicate", path, f"{first} has the same name and is taken")
        elif name not in listing.others:
            problems.add("unlisted", path, "no label file lists it")


def _nearest(paths: Sequence[str], label: int, folders: dict[str, int]) -> str:
    def order(path: str) -> tuple[bool, bool, str]:
        replaced = any(part.startswith("replacement") for part in path.split("/"))
        return folders.get(_folder(path)) != label, not replaced, path

    return min(paths, key=order)


def _folder(path: str) -> str:
    return _plain(os.path.basename(os.path.dirname(path)))  # noqa: PTH119, PTH120 (speed)


def _plain(name: str) -> str:
    """Normalise a class name for comparison with folder names: keep only letters and digits, in lower case."""
    return re.sub(r"[\W_]+", "", name).lower()
