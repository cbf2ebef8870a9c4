"""UCF101: numbered classes, and three official splits into training and test."""

from __future__ import annotations

import re
from pathlib import Path

from adamae.data.preparation.label_text import read_lines
from adamae.data.preparation.plan import ListedVideo, Listing, PreparationPlan, match, number_classes, stem
from adamae.data.preparation.problems import Problems
from adamae.data.preparation.source_tree import SourceTree
from adamae.errors import UserError

_CLASSES = "classInd.txt"
_CLASS = re.compile(r"(\d+)\s+(\S.*)")
_VIDEO = re.compile(r"(\S.*?\.\w+)(?:\s+(\S+))?")


def plan_ucf101(tree: SourceTree, split: int, problems: Problems) -> PreparationPlan:
    """See ``layouts``. There is no official validation split.

    Raises:
        UserError: The classes or the lists of the split are missing, or a line is malformed.
    """
    named = {path.name: path for path in tree.label_files}
    lists = {"train": f"trainlist{split:02d}.txt", "test": f"testlist{split:02d}.txt"}
    lacking = [name for name in (_CLASSES, *lists.values()) if name not in named]
    if lacking:
        raise UserError(
            f"no file {lacking[0]} below {tree.root} (or --annotations), expected UCF101's train/test splits"
        )
    numbered = _read_classes(named[_CLASSES])
    listing = Listing(tuple(number_classes(numbered, problems)))
    # The first line of a duplicate class counts.
    reader = _ListReader(listing, {name: number for number, name, _ in reversed(numbered)}, problems)
    for part, name in lists.items():
        reader.read(part, named[name])
    return match(listing, tree, problems)


def _read_classes(path: Path) -> list[tuple[int, str, str]]:
    numbered = []
    for line, text in read_lines(path):
        found = _CLASS.fullmatch(text)
        if found is None:
            raise UserError(f"{path}:{line}: got {text!r}, expected NUMBER CLASS")
        numbered.append((int(found[1]), found[2], f"{path}:{line}"))
    if not numbered:
        raise UserError(f"{path}: holds no class, expected lines such as: 1 ApplyEyeMakeup")
    return numbered


class _ListReader:
    def __init__(self, listing: Listing, official: dict[str, int], problems: Problems) -> None:
        self._listing = listing
        self._labels = {name: label for label, name in enumerate(listing.classes)}
        self._official = official
        self._problems = problems
        self._seen: dict[str, str] = {}

    def read(self, part: str, path: Path) -> None:
        """Add the rows of a list to the listing.

        Raises:
            UserError: A line is malformed.
        """
        for line, text in read_lines(path):
            place = f"{path}:{line}"
            found = _VIDEO.fullmatch(text)
            if found is None:
                raise UserError(f"{place}: got {text!r}, expected CLASS/VIDEO.avi")
            name, folder, number = stem(found[1]), found[1].rpartition("/")[0], found[2]
            if folder in self._official and number not in (None, str(self._official[folder])):
                raise UserError(
                    f"{place}: the number is {number!r}, expected {self._official[folder]}, that of {folder}"
                )
            fault = self._fault(part, folder, number, name)
            if fault is not None:
                self._problems.add(fault[0], place, f"{fault[1]}; {name} is skipped")
                self._listing.others.add(name)
                continue
            self._seen[name] = place
            self._listing.videos.append(ListedVideo(part, (name,), self._labels[folder], str(path), line))

    def _fault(self, part: str, name: str, number: str | None, video: str) -> tuple[str, str] | None:
        """Return the kind and description of a row's problem; None without a problem."""
        if name not in self._labels:
            return "unknown_class", f"{name!r} is not among the {len(self._labels)} classes of {_CLASSES}"
        if part == "train" and number is None:
            return "no_label", f"expected the number {self._official[name]} of {name} after the path"
        if video in self._seen:
            return "duplicate", f"it is already listed in {self._seen[video]}"
        return None
