"""Read label files, which are UTF-8 text."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

from adamae.errors import UserError


def read_text(path: Path) -> str:
    """Return a label file's text without a byte order mark.

    Raises:
        UserError: The file cannot be read, or is not UTF-8.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: the label file cannot be read ({error.strerror})") from None
    try:
        text = raw.decode("utf-8-sig")
        wrong = raw.find(b"\0")
    except UnicodeDecodeError as error:
        wrong = error.start
    if wrong >= 0:
        line = raw.count(b"\n", 0, wrong) + 1
        column = wrong - raw.rfind(b"\n", 0, wrong)
        raise UserError(f"{path}:{line}: not UTF-8 text: byte 0x{raw[wrong]:02x} at column {column}, expected UTF-8")
    return text


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number, stripped text) of the non-blank lines. Lines end with CR, LF or CR LF.

    Raises:
        UserError: The file cannot be read, or is not UTF-8.
    """
    for number, line in enumerate(io.StringIO(read_text(path), newline=None), 1):
        if stripped := line.strip():
            yield number, stripped
