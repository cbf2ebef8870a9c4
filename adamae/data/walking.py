"""Lists the files in a folder and below: links are followed, no folder is visited twice, hidden names are skipped."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from adamae.data.threads import in_threads
from adamae.errors import UserError

# Number of folders read before any of them is processed: their names must fit into memory.
_AT_ONCE = 256
# In the root folder of many file systems, and readable by root only.
_NO_DATA = "lost+found"


class Folder(NamedTuple):
    """A folder and its files.

    Attributes:
        path: Path relative to the root of the walk; "" for the root.
        files: Names of the files directly in the folder.
    """

    path: str
    files: list[str]


class Contents(NamedTuple):
    """Names directly in a folder; hidden names are skipped.

    Attributes:
        identity: Device and inode number of the folder, whichever path leads to it.
        files: Names of files, and of links to files.
        folders: Names of folders.
        links: Names of links to folders.
    """

    identity: tuple[int, int]
    files: list[str]
    folders: list[str]
    links: list[str]


def walk(root: Path, *, skip: Path | None = None, progress: Callable[[int], None] | None = None) -> Iterator[Folder]:
    """Yield ``root`` and all folders below; folders of the same depth are read by several threads.

    A link to a folder is followed only if no path without links leads there: folders have the name that they have
    without links, and a link to a visited folder is not followed.

    Args:
        root: Folder to start from.
        skip: A folder whose contents are ignored.
        progress: Called with the number of files found so far.

    Raises:
        UserError: A folder cannot be read.
    """
    left_out = None if skip is None else os.path.realpath(skip)
    seen: set[tuple[int, int]] = set()
    level: list[str] = [""]
    links: list[str] = []
    found = 0
    while level or links:
        if not level:
            level, links = sorted(links), []
        below: list[str] = []
        for path, contents in _read_all(root, level, left_out):
            if contents.identity in seen:
                continue
            seen.add(contents.identity)
            below += [os.path.join(path, name) for name in contents.folders]  # noqa: PTH118 (speed)
            links += [os.path.join(path, name) for name in contents.links]  # noqa: PTH118 (speed)
            found += len(contents.files)
            if progress is not None:
                progress(found)
            yield Folder(path, contents.files)
        level = sorted(below)


def look_into(folder: Path) -> Contents:
    """Return the names directly in a folder whose files will be opened.

    Raises:
        UserError: The folder cannot be read or entered.
    """
    contents = _read(str(folder))
    if not os.access(folder, os.X_OK):
        raise UserError(f"{folder}: the folder cannot be entered (Permission denied)")
    return contents


def folders_in(place: Path) -> list[Path]:
    """Return the folders directly in a folder, sorted by name.

    Raises:
        UserError: The folder cannot be read.
    """
    contents = look_into(place)
    return [place / name for name in sorted(contents.folders + contents.links)]


def _read_all(root: Path, paths: Sequence[str], left_out: str | None) -> Iterator[tuple[str, Contents]]:
    for begin in range(0, len(paths), _AT_ONCE):
        some = paths[begin : begin + _AT_ONCE]
        contents = in_threads(lambda path: _read(str(root / path), left_out), some)
        yield from zip(some, contents, strict=True)


def _read(place: str, left_out: str | None = None) -> Contents:
    files: list[str] = []
    folders: list[str] = []
    links: list[str] = []
    try:
        facts = os.stat(place)  # noqa: PTH116 (speed)
        with os.scandir(place) as entries:
            for entry in entries if left_out is None or os.path.realpath(place) != left_out else ():
                if not entry.name.startswith(".") and entry.name != _NO_DATA:
                    (files if not _is_folder(entry) else links if entry.is_symlink() else folders).append(entry.name)
    except OSError as error:
        raise UserError(f"{place}: the folder cannot be read ({error.strerror})") from None
    return Contents((facts.st_dev, facts.st_ino), files, folders, links)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder or a link to one. Only links need another system call."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
