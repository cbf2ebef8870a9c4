"""The text of label files, whoever saved them last with whatever program."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path

from adamae.data.preparation.problems import Problems
from adamae.errors import UserError

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# What "surrogateescape" makes of bytes that are not UTF-8.
_UNDECODED = re.compile("[\udc80-\udcff]")
NOT_UTF8 = "holds bytes that are not UTF-8, expected UTF-8; passed over"


def read_text(path: Path, problems: Problems) -> str:
    """A label file's text; bytes that cannot be decoded stay as lone surrogates (see :func:`is_decoded`).

    Returns:
        The text; empty, and a problem noted, where it is no text at all.

    Raises:
        UserError: The file cannot be read.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: the label file cannot be read ({error.strerror})") from None
    encoding = next((name for mark, name in _MARKS.items() if raw.startswith(mark)), "utf-8")
    if encoding in ("utf-16", "utf-32"):
        problems.add("encoding", f"{path}:1", f"this is {encoding.upper()}, expected UTF-8; read all the same")
        return raw.decode(encoding, "replace")
    if b"\0" in raw:
        line = raw.count(b"\n", 0, raw.find(b"\0")) + 1
        problems.add("encoding", f"{path}:{line}", "holds zero bytes, expected UTF-8 text; the file is passed over")
        return ""
    return raw.decode(encoding, "surrogateescape")


def is_decoded(text: str) -> bool:
    """Whether every byte of a piece of text was UTF-8."""
    return text.isascii() or _UNDECODED.search(text) is None


def read_lines(path: Path, problems: Problems) -> Iterator[tuple[int, str]]:
    """(line number, stripped text) of the lines that are not blank; undecodable ones become problems.

    Raises:
        UserError: The file cannot be read.
    """
    for number, line in enumerate(read_text(path, problems).split("\n"), 1):
        line = line.strip()
        if not line:
            continue
        if is_decoded(line):
            yield number, line
        else:
            problems.add("encoding", f"{path}:{number}", NOT_UTF8)
