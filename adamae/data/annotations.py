"""Which videos there are and what they are called: list files and folders.

A list has one video per line. ``path label`` separated by spaces is the format of VideoMAE; commas and tabs are
understood as well, with or without a header, and the label may be missing. Rows are held in a few flat arrays, so
that half a million of them cost tens of megabytes, once, however many workers look at them.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adamae.errors import UserError

VIDEO_SUFFIXES = (
    *(".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4"),
    *(".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".vob", ".webm", ".wmv"),
)
UNLABELLED = -1

_PATH_HEADERS = ("path", "video", "video_path", "file", "filename", "file_name", "filepath", "clip", "name")
_LABEL_HEADERS = ("label", "class", "class_id", "label_id", "category", "target", "action", "class_name")
_QUOTED_OR_PLAIN = re.compile(r'"([^"]*)"|(\S+)')
_VIDEO_NAME = re.compile(rf"({'|'.join(map(re.escape, VIDEO_SUFFIXES))})\b", re.IGNORECASE)


@dataclass(frozen=True)
class Annotations:
    """The rows of a list, or the videos of a folder.

    Attributes:
        root: What relative paths are relative to.
        labels: (n,) int64; UNLABELLED where there is none.
        classes: Names of the classes, where the source has names.
        source: The list or folder, for messages.
    """

    root: str
    labels: np.ndarray
    classes: tuple[str, ...] | None
    source: str
    _text: bytes
    _ends: np.ndarray

    @classmethod
    def of(
        cls,
        paths: Sequence[str],
        labels: np.ndarray | None = None,
        *,
        root: str = "",
        classes: Sequence[str] | None = None,
        source: str = "",
    ) -> Annotations:
        """Pack paths and (n,) labels."""
        encoded = [os.fsencode(path) for path in paths]
        return cls(
            root=root,
            labels=np.full(len(paths), UNLABELLED, np.int64) if labels is None else labels,
            classes=None if classes is None else tuple(classes),
            source=source,
            _text=b"".join(encoded),
            _ends=np.cumsum([len(path) for path in encoded], dtype=np.int64),
        )

    def __len__(self) -> int:
        return len(self._ends)

    def path(self, row: int) -> str:
        """Where the video of a row lies."""
        start = int(self._ends[row - 1]) if row else 0
        return os.path.join(self.root, os.fsdecode(self._text[start : int(self._ends[row])]))  # noqa: PTH118 (speed)


def load_annotations(
    source: str | Path,
    *,
    data_root: str | Path | None = None,
    classes: Sequence[str] | None = None,
    split: str = "train",
) -> Annotations:
    """Read a list file or look through a folder.

    Args:
        source: A list; a folder that holds ``<split>.csv``, which is then read; or a folder of videos.
        data_root: What a list's relative paths are relative to, instead of the list's own folder.
        classes: Known class names, which fix the order of labels; without them a list's names are sorted.
        split: Which list of a folder.

    Raises:
        UserError: Missing, empty, malformed, or none of the first videos exists.
    """
    place = Path(source)
    if place.is_dir():
        listed = place / f"{split}.csv"
        if not listed.is_file():
            return scan_folder(place, classes=classes)
        place = listed
    annotations = read_list(place, data_root=data_root, classes=classes)
    first = [annotations.path(row) for row in range(min(len(annotations), 20))]
    if not any(os.path.exists(path) for path in first):  # noqa: PTH110 (speed)
        raise UserError(
            f"{place}: none of the first {len(first)} videos exists, for example {first[0]}; "
            "relative paths are taken from the list's folder unless --data_root names another"
        )
    return annotations


def scan_folder(folder: str | Path, *, classes: Sequence[str] | None = None) -> Annotations:
    """All videos in and below a folder, sorted by path.

    If every video lies in a sub-folder, the first sub-folder's name is its class; otherwise there are no labels.

    Raises:
        UserError: No such folder, or no video in it.
    """
    root = Path(folder)
    if not root.is_dir():
        raise UserError(f"{root}: no such folder")
    found = sorted(
        os.path.relpath(os.path.join(place, name), root)  # noqa: PTH118 (speed)
        for place, _, names in os.walk(root, followlinks=True)
        for name in names
        if not name.startswith(".") and os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES  # noqa: PTH122 (speed)
    )
    if not found:
        raise UserError(
            f"{root}: no video in this folder or below it, expected files that end in {' '.join(VIDEO_SUFFIXES)}"
        )
    if not all(os.sep in path for path in found):
        return Annotations.of(found, root=str(root), source=str(root))
    names = [path.partition(os.sep)[0] for path in found]
    labels, known = _number(names, classes, [str(root / path) for path in found])
    return Annotations.of(found, labels, root=str(root), classes=known, source=str(root))


def read_list(
    path: str | Path, *, data_root: str | Path | None = None, classes: Sequence[str] | None = None
) -> Annotations:
    """Read a list file.

    Args:
        path: One video per line.
        data_root: What relative paths are relative to, by default the list's folder.
        classes: Known class names, which fix the order of labels.

    Raises:
        UserError: Missing or empty, or a line that does not fit, named by file and line.
    """
    place = Path(path)
    paths: list[str] = []
    labels: list[str] = []
    lines: list[int] = []
    for line, video, label in _rows(place):
        paths.append(video if "." in video[video.rfind("/") + 1 :] else f"{video}.mp4")
        lines.append(line)
        if label is not None:
            labels.append(label)
    if not paths:
        raise UserError(f"{place}: the list is empty, expected one video per line")
    root = str(place.parent if data_root is None else data_root)
    if not labels:
        return Annotations.of(paths, root=root, source=str(place))
    numbers, known = _labels(labels, classes, place, lines)
    return Annotations.of(paths, numbers, root=root, classes=known, source=str(place))


def _read_text(place: Path) -> str:
    if place.suffix.lower() in VIDEO_SUFFIXES:
        raise UserError(f"{place}: this is a video, expected a list of videos or a folder")
    try:
        raw = place.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{place}: no such list or folder") from None
    except OSError as error:
        raise UserError(f"{place}: the list cannot be read ({error.strerror})") from None
    if b"\0" in raw:
        raise UserError(f"{place}: this is not a text file, expected a list with one video per line")
    # Names of files need not be UTF-8; what is not comes back byte for byte.
    return raw.decode("utf-8-sig", "surrogateescape")


def _rows(place: Path) -> Iterator[tuple[int, str, str | None]]:
    """(line number, path, label or None) of every row; all rows have as many columns as the first line."""
    columns: _Columns | None = None
    for line, fields in _fields(_read_text(place), place):
        if columns is None:
            columns = _Columns.of(fields)
            if columns.header:
                continue
        if len(fields) != columns.width:
            raise UserError(
                f"{place}:{line}: {len(fields)} columns, expected {columns.width} as in the first line; {_QUOTE}"
            )
        path = fields[columns.path].strip()
        label = None if columns.label is None else fields[columns.label].strip()
        if not path or label == "":
            raise UserError(f"{place}:{line}: the {'label' if path else 'path'} is empty, expected PATH LABEL")
        if label is not None and _VIDEO_NAME.search(label):
            raise UserError(f"{place}:{line}: the label is {label!r}, which looks like part of a path; {_QUOTE}")
        yield line, path, label


@dataclass(frozen=True)
class _Columns:
    path: int
    label: int | None
    width: int
    header: bool

    @classmethod
    def of(cls, first: list[str]) -> _Columns:
        """Where path and label stand, from the names in a header, or by their usual order."""
        names = [field.strip().lower() for field in first]
        path = next((names.index(name) for name in _PATH_HEADERS if name in names), None)
        label = next((names.index(name) for name in _LABEL_HEADERS if name in names), None)
        told = path is not None or (label or 0) > 0
        if told and not any(_is_number(name) or _VIDEO_NAME.search(name) for name in names):
            return cls(path or 0, label, len(names), header=True)
        return cls(0, 1 if len(names) > 1 else None, len(names), header=False)


_QUOTE = 'what has spaces must stand in quotes: "my video.mp4" 3'


def _fields(text: str, place: Path) -> Iterator[tuple[int, list[str]]]:
    """(line number, fields) of every line that is not blank."""
    lines = text.splitlines()
    first = next((line for line in lines if line.strip()), "")
    if "\t" in first.strip():
        yield from _delimited(lines, "\t", place)
    elif _is_comma_separated(first):
        yield from _delimited(lines, ",", place)
    else:
        yield from _spaced(lines, place)


def _delimited(lines: list[str], delimiter: str, place: Path) -> Iterator[tuple[int, list[str]]]:
    rows = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    line = 1
    try:
        for fields in rows:
            if rows.line_num > line:
                raise csv.Error("a quote is not closed")
            if len(fields) > 1 or (fields and fields[0].strip()):
                yield line, fields
            line += 1
    except csv.Error as error:
        raise UserError(f"{place}:{line}: {error}, expected fields parted by {delimiter!r}") from None


def _spaced(lines: list[str], place: Path) -> Iterator[tuple[int, list[str]]]:
    for line, text in enumerate(lines, 1):
        quoted = '"' in text
        fields = [inner or plain for inner, plain in _QUOTED_OR_PLAIN.findall(text)] if quoted else text.split()
        if len(fields) > 2:
            raise UserError(f"{place}:{line}: {len(fields)} columns parted by spaces, expected PATH LABEL; {_QUOTE}")
        if fields:
            yield line, fields


def _is_comma_separated(line: str) -> bool:
    """Whether commas part the columns, and do not merely occur in a path that a space parts from its label."""
    fields = next(csv.reader([line], skipinitialspace=True), [])
    return len(fields) > 1 and not _VIDEO_NAME.search(fields[1])


def _labels(
    labels: list[str], classes: Sequence[str] | None, place: Path, lines: list[int]
) -> tuple[np.ndarray, Sequence[str] | None]:
    """(n,) numbers, and the class names where the labels are names."""
    numeric = _is_number(labels[0])
    try:
        if numeric:
            numbers = np.array(labels).astype(np.int64)
    except (ValueError, OverflowError):
        wrong = next(row for row, label in enumerate(labels) if not _is_number(label))
        raise UserError(
            f"{place}:{lines[wrong]}: the label is {labels[wrong]!r}, expected a number as in the first row"
        ) from None
    if not numeric:
        wrong = next((row for row, label in enumerate(labels) if _is_number(label)), -1)
        if wrong >= 0:
            raise UserError(
                f"{place}:{lines[wrong]}: the label is {labels[wrong]}, expected a name as in the first row"
            )
        return _number(labels, classes, [f"{place}:{line}" for line in lines] if classes is not None else [])
    if numbers.min() < UNLABELLED:
        wrong = int(numbers.argmin())
        raise UserError(f"{place}:{lines[wrong]}: the label is {numbers[wrong]}, expected 0 or more, or -1 for none")
    if classes is not None and numbers.max() >= len(classes):
        wrong = int(numbers.argmax())
        raise UserError(f"{place}:{lines[wrong]}: the label is {numbers[wrong]}, expected less than {len(classes)}")
    return numbers, classes


def _is_number(label: str) -> bool:
    return label.lstrip("+-").isdecimal()


def _number(names: list[str], classes: Sequence[str] | None, places: Sequence[str]) -> tuple[np.ndarray, Sequence[str]]:
    """(n,) positions of names in ``classes``, or among themselves in sorted order."""
    known = sorted(set(names)) if classes is None else classes
    position = {name: number for number, name in enumerate(known)}
    unknown = next((row for row, name in enumerate(names) if name not in position), None)
    if unknown is not None:
        raise UserError(f"{places[unknown]}: the class {names[unknown]!r} is not among the {len(known)} known ones")
    return np.array([position[name] for name in names], np.int64), known
