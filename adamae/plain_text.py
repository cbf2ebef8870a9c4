"""Text for persons and programs; names of files may hold any byte but zero and a slash."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

# What the file system's decoding makes of bytes that are not UTF-8 ("surrogateescape").
_UNDECODED = re.compile("[\ud800-\udfff]")
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")


def one_line(text: str) -> str:
    """Text for a person, on one line: ends of lines and bytes that are not UTF-8 as escapes."""
    return _UNPRINTABLE.sub(_escape, text)


def is_utf8(text: str) -> bool:
    """Whether text can be encoded: names of files that are not UTF-8 cannot."""
    return not _UNDECODED.search(text)


def counted(number: int, one: str, several: str = "") -> str:
    """A number and its noun: "1 video", "2 videos".

    Args:
        number: How many.
        one: The noun in the singular.
        several: In the plural; empty: with an s.
    """
    return f"{number} {one if number == 1 else several or one + 's'}"


def as_json(value: Any) -> str:
    """A value as JSON that is valid UTF-8; ``os.fsencode`` of a name that was read from it gives the file's bytes.

    Raises:
        ValueError: It holds a number that is not finite.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    return _UNDECODED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def write_csv_rows(file: TextIO, rows: Iterable[Sequence[Any]]) -> None:
    """Write rows of numbers and texts, separated by commas; None is an empty field.

    Args:
        file: Opened with ``newline=""``.
        rows: A sequence of fields each.
    """
    plain, quoted = (csv.writer(file, quoting=how, lineterminator="\n") for how in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    for row in rows:
        # The library forgets to quote what would end a line elsewhere.
        (quoted if any("\r" in field for field in row if isinstance(field, str)) else plain).writerow(row)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return found[0].encode("unicode_escape").decode()
