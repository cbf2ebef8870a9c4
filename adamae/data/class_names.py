"""``classes.txt``: the names of the classes, one on each line, label 0 first."""

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
    """The names in a text file, one on each line, class 0 first. A byte order mark is none of them.

    Raises:
        UserError: If it cannot be read, is empty, or a name is empty or there twice.
    """
    place = Path(path)
    try:
        # Folders name classes too, and need not be UTF-8.
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
    """Names from ``classes.txt`` in a folder or beside a list; None without that file.

    Raises:
        UserError: As :func:`read_class_names`.
    """
    folder = Path(place) if is_folder(place) else Path(place).parent
    path = folder / CLASSES_FILE
    # A folder that cannot be entered is told by those who read it.
    return read_class_names(path) if os.path.isfile(path) else None  # noqa: PTH113


def write_class_names(folder: Path, names: Sequence[str]) -> None:
    """Write ``classes.txt``, label 0 first.

    Raises:
        OSError: It cannot be written.
    """
    # Folders name classes too, and may have the end of a line in their names.
    text = "".join(f"{one_line(name) if len(name.splitlines()) > 1 else name}\n" for name in names)
    write_whole(folder / CLASSES_FILE, text.encode("utf-8", "surrogateescape"))
