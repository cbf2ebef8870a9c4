"""Everything below the folder that was downloaded: videos, and files that may hold labels."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from adamae.data.list_rows import VIDEO_SUFFIXES
from adamae.errors import UserError

_LABEL_SUFFIXES = (".csv", ".json", ".txt")


@dataclass(frozen=True)
class SourceTree:
    """What a folder holds.

    Attributes:
        root: The folder.
        videos: Paths of videos below it, sorted.
        label_files: Files that may hold labels, sorted.
        left_out: The folder of the results, which was not looked into.
    """

    root: Path
    videos: list[str]
    label_files: list[Path]
    left_out: Path


def look_through(root: Path, *, annotations: Path | None, skip: Path) -> SourceTree:
    """Walk through a folder once.

    Args:
        root: Where the videos are.
        annotations: Where the label files are; None: in ``root``.
        skip: The folder of the results, which may lie inside.

    Raises:
        UserError: A folder is missing, or there is no video.
    """
    for place in (root, annotations):
        if place is not None and not place.is_dir():
            raise UserError(f"{place}: no such folder")
    videos: list[str] = []
    label_files: list[Path] = []
    for path in _files_below(root, skip):
        suffix = os.path.splitext(path)[1].lower()  # noqa: PTH122 (speed)
        if suffix in VIDEO_SUFFIXES:
            videos.append(os.path.relpath(path, root))
        elif suffix in _LABEL_SUFFIXES and annotations is None:
            label_files.append(Path(path))
    if annotations is not None:
        label_files = [Path(path) for path in _files_below(annotations, skip) if path.lower().endswith(_LABEL_SUFFIXES)]
    if not videos:
        raise UserError(
            f"{root}: no video in this folder or below it, expected files that end in {' '.join(VIDEO_SUFFIXES)}"
        )
    return SourceTree(root, sorted(videos), sorted(label_files), skip)


def _files_below(root: Path, skip: Path) -> Iterator[str]:
    """Paths of files, links followed, hidden ones and ``skip`` left out, no folder entered twice."""
    seen: set[tuple[int, int]] = set()
    left_out = os.path.realpath(skip)
    for place, folders, names in os.walk(root, followlinks=True):
        facts = os.stat(place)  # noqa: PTH116 (speed)
        if (facts.st_dev, facts.st_ino) in seen or os.path.realpath(place) == left_out:
            folders.clear()
            continue
        seen.add((facts.st_dev, facts.st_ino))
        # A link must not take the place of the folder it leads to: real folders first, then by name.
        folders[:] = sorted(
            (name for name in folders if not name.startswith(".")),
            key=lambda name: (os.path.islink(os.path.join(place, name)), name),  # noqa: PTH114, PTH118
        )
        for name in names:
            if not name.startswith("."):
                yield os.path.join(place, name)  # noqa: PTH118 (speed)
