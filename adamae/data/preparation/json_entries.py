"""The objects of a JSON list one by one, with their lines, going on after damage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adamae.data.preparation.label_text import NOT_UTF8, is_decoded, read_text
from adamae.data.preparation.problems import Problems

_DECODER = json.JSONDecoder()
_BLANK = " \t\r\n"


def read_entries(path: Path, problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of every object of a list that can be read; the others become problems.

    Args:
        path: A JSON file that holds a list of objects without objects inside them.
        problems: Where to note what cannot be read.

    Raises:
        UserError: The file cannot be read.
    """
    text = read_text(path, problems)
    line, counted = 1, 0
    at = _first_object(path, text, problems)
    while at >= 0:
        line, counted = line + text.count("\n", counted, at), at
        try:
            entry, end = _DECODER.raw_decode(text, at)
        except json.JSONDecodeError as error:
            wrong = line + text.count("\n", at, error.pos)
            problems.add("malformed", f"{path}:{wrong}", f"no JSON: {error.msg}; the entry is passed over")
            at = text.find("{", at + 1)
            continue
        if is_decoded(text[at:end]):
            yield line, entry
        else:
            problems.add("encoding", f"{path}:{line}", NOT_UTF8)
        at = _next_object(path, text, end, line, problems)


def _first_object(path: Path, text: str, problems: Problems) -> int:
    """Where the list's first object begins; below 0 if there is none."""
    if not text:
        return -1
    start = text.lstrip()[:1]
    if start != "[":
        problems.add("malformed", f"{path}:1", f"begins with {start!r}, expected a JSON list: [")
    return text.find("{")


def _next_object(path: Path, text: str, end: int, line: int, problems: Problems) -> int:
    """Where the next object begins after one that ended at ``end``; below 0 after the last."""
    at = end
    while at < len(text) and text[at] in _BLANK:
        at += 1
    if at == len(text) or text[at] not in ",]":
        wrong = line + text.count("\n", end, at)
        got = "the end of the file" if at == len(text) else repr(text[at])
        problems.add("malformed", f"{path}:{wrong}", f"no JSON: {got} after an entry, expected a comma or ]")
    return -1 if text[at : at + 1] == "]" else text.find("{", at)
