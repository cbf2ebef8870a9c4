"""The rows of a list file, whatever parts their columns."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from adamae.data.decoding.image_names import IMAGE_SUFFIXES, is_image
from adamae.errors import UserError

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
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")  # what fits 64 bits
_QUOTE = 'paths with spaces must be quoted: "my video.mp4" 3'


class Row(NamedTuple):
    """A row of a list.

    Attributes:
        line: Number of its first line in the file.
        last: Number of its last line; within quotes a path may have ends of lines in it.
        path: Of the video.
        label: None where there is no such column.
        frames: How many the video has; None where there is no such column.
    """

    line: int
    last: int
    path: str
    label: str | None
    frames: int | None


def read_rows(place: Path) -> Iterator[Row]:
    """Every row of a list.

    Args:
        place: A text file with one video per line, columns separated by spaces, commas or tabs, quoted where needed,
            with or without a header. Three columns that spaces part are path, number of frames, and label.

    Raises:
        UserError: It is missing or not text, or a line does not have the columns that the first one has.
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
    """Whether a file's name is that of a video. Hidden ones are none."""
    return os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES and not name.startswith(".")  # noqa: PTH122 (speed)


def is_number(label: str) -> bool:
    """Whether a label is written as a whole number."""
    return _NUMBER.fullmatch(label) is not None


@dataclass(frozen=True)
class _Columns:
    path: int
    label: int | None
    frames: int | None
    width: int
    header: bool

    @classmethod
    def of(cls, first: list[str], *, spaced: bool) -> _Columns:
        """Where path and label stand, from the names in a header, or by their usual order."""
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
        """What stands in the column of numbers of frames."""
        if self.frames is None:
            return None
        text = fields[self.frames].strip()
        if not is_number(text) or int(text) < 1:
            raise UserError(f"{place}:{line}: the number of frames is {text!r}, expected a number above 0; {_QUOTE}")
        return int(text)


def read_lines(place: Path) -> list[str]:
    """The lines of a list, with their ends.

    Raises:
        UserError: It is missing or not text.
    """
    return _lines(_read_text(place))


def _lines(text: str) -> list[str]:
    # Only these ends, of all that a text may have: names of files hold the others too.
    return list(io.StringIO(text, newline=""))


def _separator(text: str, place: Path) -> str:
    """What parts the columns, by the first line."""
    lines = ((number, line.strip()) for number, line in enumerate(io.StringIO(text, newline=""), 1))
    number, first = next(((number, line) for number, line in lines if line), (1, ""))
    if "\t" in first:
        return "\t"
    # A header in quotes, as is written where paths need them.
    quoted = first[:1] == first[-1:] == '"' and first[1:-1].lower() in _PATH_HEADERS
    try:
        return "," if quoted or _is_comma_separated(first) else " "
    except csv.Error as error:
        raise UserError(f"{place}:{number}: {error}, expected a list with one video or image per line") from None


def _fields(text: str, separator: str, place: Path) -> Iterator[tuple[int, int, list[str]]]:
    """(first line, last line, fields) of every row that is not blank."""
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
    """Whether commas part the columns, and do not merely occur in a path that a space parts from its label."""
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
    # Names of files need not be UTF-8; what is not comes back byte for byte.
    return raw.decode("utf-8-sig", "surrogateescape")
