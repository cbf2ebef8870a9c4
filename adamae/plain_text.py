"""Text output for users and programs; file names in it may contain any byte except zero and slash."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

# Code points for bytes of a file name that are not UTF-8 ("surrogateescape").
_UNDECODED = re.compile("[\ud800-\udfff]")
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")


def one_line(text: str) -> str:
    """Return text on one line, with line ends and bytes that are not UTF-8 escaped."""
    return _UNPRINTABLE.sub(_escape, text)


def first_line(error: BaseException) -> str:
    """Return the first non-blank line of an exception's message, or the name of its type if there is none."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def is_utf8(text: str) -> bool:
    """Return whether text can be encoded as UTF-8, which some file names cannot."""
    return not _UNDECODED.search(text)


def counted(number: int, one: str, several: str = "") -> str:
    """Return a number and its noun: "1 video", "2 videos".

    Args:
        number: The number.
        one: The noun in the singular.
        several: The noun in the plural; empty: the singular with an s.
    """
    return f"{number} {one if number == 1 else several or one + 's'}"


def some_of(names: Sequence[str], most: int = 4) -> str:
    """Return the first ``most`` names, and how many more there are: "a, b and 3 more"."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def as_json(value: Any) -> str:
    """Return a value as JSON that is valid UTF-8; ``os.fsencode`` of a file name read from it returns its bytes.

    Raises:
        ValueError: If the value contains a number that is not finite.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    return _UNDECODED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def write_csv_rows(file: TextIO, rows: Iterable[Sequence[Any]]) -> None:
    """Write rows of numbers and strings, separated by commas; None is an empty field.

    Args:
        file: File opened with ``newline=""``.
        rows: Rows, each a sequence of fields.
    """
    plain, quoted = (csv.writer(file, quoting=how, lineterminator="\n") for how in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    for row in rows:
        # csv does not quote a carriage return, which other programs read as the end of a line.
        (quoted if any("\r" in field for field in row if isinstance(field, str)) else plain).writerow(row)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return found[0].encode("unicode_escape").decode()
