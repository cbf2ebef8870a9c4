"""``classes.txt``: the names of the classes, one per line, label 0 first."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

from adamae.errors import UserError
from adamae.files import write_whole
from adamae.lookup import is_folder
from adamae.plain_text import one_line

CLASSES_FILE = "classes.txt"


def read_class_names(path: str | Path) -> tuple[str, ...]:
    """Read class names from a text file, one per line, label 0 first. A byte order mark is ignored.

    Raises:
        UserError: If the file cannot be read or is empty, or a name is empty or occurs twice.
    """
    place = Path(path)
    try:
        # Classes may be named by folders, whose names need not be UTF-8.
        text = place.read_bytes().decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise UserError(f"{place}: the class names cannot be read ({error.strerror})") from None
    if "\0" in text:
        raise UserError(f"{place}: the class names cannot be read (is not text)")
    names = [line.strip() for line in io.StringIO(text.rstrip(), newline=None)]
    if not names:
        raise UserError(f"{place}: is empty, expected one class name on each line")
    seen: dict[str, int] = {}
    for line, name in enumerate(names, 1):
        if not name:
            raise UserError(f"{place}:{line}: the name is empty, expected one class name on each line")
        if name in seen:
            raise UserError(f"{place}:{line}: the class {name!r} is already on line {seen[name]}")
        seen[name] = line
    return tuple(names)


def class_names_beside(place: str | Path) -> tuple[str, ...] | None:
    """Read ``classes.txt`` in a folder or beside a list; None if there is no such file.

    Raises:
        UserError: As for :func:`read_class_names`.
    """
    folder = Path(place) if is_folder(place) else Path(place).parent
    path = folder / CLASSES_FILE
    # A folder that cannot be entered is reported when its videos are read.
    return read_class_names(path) if os.path.isfile(path) else None  # noqa: PTH113


def write_class_names(folder: Path, names: Sequence[str]) -> None:
    """Write ``classes.txt``, label 0 first.

    Raises:
        OSError: The file cannot be written.
    """
    # Classes may be named by folders, whose names may contain line breaks.
    text = "".join(f"{one_line(name) if len(name.splitlines()) > 1 else name}\n" for name in names)
    write_whole(folder / CLASSES_FILE, text.encode("utf-8", "surrogateescape"))
