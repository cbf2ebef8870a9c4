"""JSON label files: a list of objects, or an object of names and values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adamae.data.preparation.label_text import read_text
from adamae.errors import UserError


def read_entries(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (position for messages, object) for every object of a list.

    Raises:
        UserError: The file cannot be read, or is not a JSON list of objects.
    """
    entries = _parse(path, "a list of objects: [{...}, ...]")
    if not isinstance(entries, list):
        raise UserError(f"{path}:1: got {_kind(entries)}, expected a JSON list of objects: [{{...}}, ...]")
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict):
            raise UserError(f"{path}:entry {number}: got {_kind(entry)}, expected a JSON object: {{...}}")
        yield f"entry {number}", entry


def read_pairs(path: Path) -> list[tuple[str, Any]]:
    """Return the (name, value) pairs of a JSON object, including duplicate names.

    Raises:
        UserError: The file cannot be read, or is not a JSON object.
    """
    pairs = _parse(path, 'an object: {"NAME": "NUMBER", ...}', object_pairs_hook=tuple)
    # Only JSON objects become tuples.
    if not isinstance(pairs, tuple) or not pairs:
        raise UserError(f'{path}:1: got {_kind(pairs)}, expected a JSON object: {{"NAME": "NUMBER", ...}}')
    return list(pairs)


def _parse(path: Path, expected: str, **options: Any) -> Any:
    try:
        return json.loads(read_text(path), **options)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}:{error.lineno}: not valid JSON at column {error.colno} ({error.msg}), expected {expected}"
        ) from None


def _kind(value: Any) -> str:
    """Return the name of a value's JSON type, for messages."""
    names = {list: "a list", dict: "an object", tuple: "an object", str: "a string", bool: "a boolean"}
    name = names.get(type(value), "null" if value is None else "a number")
    return name if value or not isinstance(value, (list, dict, tuple)) else f"{name} that is empty"
