"""What is to be prepared: every listed video with its file, its split and its label."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from adamae.data.annotations import UNLABELLED
from adamae.data.list_rows import VIDEO_SUFFIXES
from adamae.data.preparation.problems import Problems
from adamae.data.preparation.source_tree import SourceTree


class ListedVideo(NamedTuple):
    """A row of a label file.

    Attributes:
        split: One of :data:`~adamae.data.split_names.SPLITS`.
        names: Under which its file may be found, the likeliest first; see :func:`match`.
        label: Its class's number, or UNLABELLED.
        file: The label file.
        line: Where in it: a line's number, or in words.
    """

    split: str
    names: tuple[str, ...]
    label: int
    file: str
    line: int | str

    @property
    def place(self) -> str:
        """For messages."""
        return f"{self.file}:{self.line}"


class PlannedVideo(NamedTuple):
    """A video that is there and listed.

    Attributes:
        split: One of :data:`~adamae.data.split_names.SPLITS`.
        source: Its path below the source folder.
        label: Its class's number, or UNLABELLED.
    """

    split: str
    source: str
    label: int


@dataclass
class Listing:
    """What a layout's label files say.

    Attributes:
        classes: Names, label 0 first.
        videos: All rows in which nothing is wrong.
        others: Names of videos that are listed but not wanted, or whose row was passed over.
        notes: What the person should know, one sentence each.
    """

    classes: tuple[str, ...] = ()
    videos: list[ListedVideo] = field(default_factory=list)
    others: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """What is to be prepared.

    Attributes:
        classes: Names, label 0 first; empty if there are no labels.
        videos: In the order of the lists.
        listed: How many videos the label files list.
        notes: What the person should know, one sentence each.
    """

    classes: tuple[str, ...]
    videos: list[PlannedVideo]
    listed: int
    notes: tuple[str, ...]


def stem(path: str) -> str:
    """A video's file name without folder and without a video's suffix."""
    name = path[path.rfind("/") + 1 :]
    bare, suffix = os.path.splitext(name)  # noqa: PTH122 (speed)
    return bare if suffix.lower() in VIDEO_SUFFIXES else name


def match(listing: Listing, tree: SourceTree, problems: Problems, *, name_of: Callable[[str], str] = stem) -> Plan:
    """Find the file of every row.

    Of several files with a row's name, that in the folder of its class is taken, then one in a folder whose name
    begins with "replacement" (Kinetics' archives mend broken videos so), then the first by path.

    Args:
        listing: The rows.
        tree: The files.
        problems: Where to note rows without file, files without row, and what is there twice.
        name_of: A file's path to the name by which rows ask for it.
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
            problems.add("duplicate", video.place, f"{path} is listed in {used[path].place} already; passed over")
            continue
        used[path] = video
        folder = folders.get(_folder(path), video.label)
        if video.label not in (folder, UNLABELLED):
            reason = f"lies in the folder of {listing.classes[folder]!r}, {video.place} says"
            problems.add("other_folder", path, f"{reason} {listing.classes[video.label]!r}; the label is taken")
        planned.append(PlannedVideo(video.split, path, video.label))
    _note_unused(files, tree.videos, used, listing, problems)
    return Plan(listing.classes, planned, len(listing.videos), tuple(listing.notes))


def number_classes(numbered: Sequence[tuple[int, str, str]], problems: Problems) -> dict[str, int]:
    """Class names with their labels, counted from 0 in the order of the official numbers.

    Args:
        numbered: (official number, name, place for messages) of each class.
        problems: Where to note names and numbers that stand twice, and numbers that are left out.
    """
    names: dict[str, str] = {}
    numbers: dict[int, str] = {}
    kept: list[tuple[int, str]] = []
    for number, name, place in numbered:
        if name in names or number in numbers:
            what = f"the class {name!r}" if name in names else f"the number {number}"
            other = names[name] if name in names else numbers[number]
            problems.add("duplicate", place, f"{what} stands in {other} already; passed over")
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
    """Paths by name. Half a million names have one path each, and a list for each of them would double their cost."""

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
        """All paths of a name."""
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
    """A class name as any folder may spell it: only its letters and digits count."""
    return re.sub(r"[\W_]+", "", name).lower()
