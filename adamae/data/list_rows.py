"""Reads the rows of a list file, with columns separated by spaces, commas or tabs."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from adamae.data.decoding.image_names import IMAGE_SUFFIXES, is_image
from adamae.errors import UserError

# Label of videos without one.
UNLABELLED = -1
VIDEO_SUFFIXES = (
    *(".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4"),
    *(".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".vob", ".webm", ".wmv"),
)

_PATH_HEADERS = (
    *("path", "video", "video_path", "file", "filename", "file_name", "filepath", "clip", "name"),
    *("image", "image_path"),
)
LABEL_HEADERS = ("label", "class", "class_id", "label_id", "category", "target", "action", "class_name")
_FRAMES_HEADERS = ("total_frames", "num_frames")
_QUOTED_OR_PLAIN = re.compile(r'"([^"]*)"|(\S+)')
_FILE_NAME = re.compile(rf"({'|'.join(map(re.escape, VIDEO_SUFFIXES + IMAGE_SUFFIXES))})\b", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")  # fits in 64 bits
_QUOTE = 'paths with spaces must be quoted: "my video.mp4" 3'


class Row(NamedTuple):
    """A row of a list.

    Attributes:
        line: Number of its first line in the file.
        last: Number of its last line; a quoted path may contain line breaks.
        path: Path of the video.
        label: Label of the video; None if the list has no such column.
        frames: Number of frames of the video; None if the list has no such column.
    """

    line: int
    last: int
    path: str
    label: str | None
    frames: int | None


def read_rows(place: Path) -> Iterator[Row]:
    """Yield the rows of a list.

    Args:
        place: A text file with one video per line, columns separated by spaces, commas or tabs, quoted where needed,
            with or without a header. Three columns separated by spaces are path, number of frames, and label.

    Raises:
        UserError: The file is missing or not text, or a line does not have the columns of the first one.
    """
    columns: _Columns | None = None
    text = _read_text(place)
    separator = _separator(text, place)
    for line, last, fields in _fields(text, separator, place):
        if columns is None:
            columns = _Columns.of(fields, spaced=separator == " ")
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
        if label is not None and _FILE_NAME.search(label):
            raise UserError(f"{place}:{line}: the label is {label!r}, which looks like part of a path; {_QUOTE}")
        yield Row(line, last, path, label, columns.count(fields, place, line))


def is_video(name: str) -> bool:
    """Return whether a file name is that of a video; False for hidden files."""
    return os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES and not name.startswith(".")  # noqa: PTH122 (speed)


def is_number(label: str) -> bool:
    """Return whether a label is an integer."""
    return _NUMBER.fullmatch(label) is not None


def differing_label(labels: Sequence[str]) -> tuple[int, str] | None:
    """Return the row of the first label that is a number beside names, or the reverse, and the reason for an error.

    The first label decides; None if all are of its kind.
    """
    names = not is_number(labels[0])
    row = next((row for row, label in enumerate(labels) if is_number(label) == names), None)
    if row is None:
        return None
    found, expected = (labels[row], "a name") if names else (repr(labels[row]), "a number")
    return row, f"the label is {found}, expected {expected} as in the first row"


@dataclass(frozen=True)
class _Columns:
    path: int
    label: int | None
    frames: int | None
    width: int
    header: bool

    @classmethod
    def of(cls, first: list[str], *, spaced: bool) -> _Columns:
        """Locate the columns by the names in a header, or by their usual order."""
        names = [field.strip().lower() for field in first]
        path = next((names.index(name) for name in _PATH_HEADERS if name in names), None)
        label = next((names.index(name) for name in LABEL_HEADERS if name in names), None)
        frames = next((names.index(name) for name in _FRAMES_HEADERS if name in names), None)
        told = path is not None or (label or 0) > 0
        if told and not any(is_number(name) or _FILE_NAME.search(name) for name in names):
            return cls(path or 0, label, frames, len(names), header=True)
        if spaced and len(names) == 3:
            return cls(0, 2, 1, 3, header=False)
        return cls(0, 1 if len(names) > 1 else None, None, len(names), header=False)

    def count(self, fields: list[str], place: Path, line: int) -> int | None:
        """Return the value of the column of frame counts; None if there is no such column."""
        if self.frames is None:
            return None
        text = fields[self.frames].strip()
        if not is_number(text) or int(text) < 1:
            raise UserError(f"{place}:{line}: the number of frames is {text!r}, expected a number above 0; {_QUOTE}")
        return int(text)


def read_lines(place: Path) -> list[str]:
    """Read the lines of a list, including line ends.

    Raises:
        UserError: The list is missing or not text.
    """
    return _lines(_read_text(place))


def _lines(text: str) -> list[str]:
    # Split at \n, \r and \r\n only: file names may contain the other line boundaries of str.splitlines.
    return list(io.StringIO(text, newline=""))


def _separator(text: str, place: Path) -> str:
    """Return the column separator, determined by the first line."""
    lines = ((number, line.strip()) for number, line in enumerate(io.StringIO(text, newline=""), 1))
    number, first = next(((number, line) for number, line in lines if line), (1, ""))
    if "\t" in first:
        return "\t"
    # A quoted header, as is written if paths need quotes.
    quoted = first[:1] == first[-1:] == '"' and first[1:-1].lower() in _PATH_HEADERS
    try:
        return "," if quoted or _is_comma_separated(first) else " "
    except csv.Error as error:
        raise UserError(f"{place}:{number}: {error}, expected a list with one video or image per line") from None


def _fields(text: str, separator: str, place: Path) -> Iterator[tuple[int, int, list[str]]]:
    """Return an iterator over (first line, last line, fields) of the rows that are not blank."""
    lines = _lines(text)
    return _spaced(lines, place) if separator == " " else _delimited(lines, separator, place)


def _delimited(lines: list[str], delimiter: str, place: Path) -> Iterator[tuple[int, int, list[str]]]:
    rows = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    line = 1
    try:
        for fields in rows:
            if len(fields) > 1 or (fields and fields[0].strip()):
                yield line, rows.line_num, fields
            line = rows.line_num + 1
    except csv.Error as error:
        raise UserError(f"{place}:{line}: {error}, expected fields separated by {delimiter!r}") from None


def _spaced(lines: list[str], place: Path) -> Iterator[tuple[int, int, list[str]]]:
    for line, text in enumerate(lines, 1):
        quoted = '"' in text
        fields = [inner or plain for inner, plain in _QUOTED_OR_PLAIN.findall(text)] if quoted else text.split()
        if len(fields) > 3:
            raise UserError(
                f"{place}:{line}: {len(fields)} columns separated by spaces, expected PATH LABEL or PATH FRAMES LABEL; "
                f"{_QUOTE}"
            )
        if fields:
            yield line, line, fields


def _is_comma_separated(line: str) -> bool:
    """Return whether commas separate the columns, and do not merely occur in a path that a space separates."""
    fields = next(csv.reader([line], skipinitialspace=True), [])
    return len(fields) > 1 and not _FILE_NAME.search(fields[1])


def _read_text(place: Path) -> str:
    if place.suffix.lower() in VIDEO_SUFFIXES + IMAGE_SUFFIXES:
        what = "an image" if is_image(place.name) else "a video"
        raise UserError(f"{place}: this is {what}, expected a list or a folder")
    try:
        raw = place.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{place}: no such list or folder") from None
    except OSError as error:
        raise UserError(f"{place}: the list cannot be read ({error.strerror})") from None
    if b"\0" in raw:
        raise UserError(f"{place}: this is not a text file, expected a list with one video or image per line")
    # File names need not be UTF-8; surrogateescape preserves other bytes.
    return raw.decode("utf-8-sig", "surrogateescape")
