"""Minimal reader of MATLAB files of version 5: numbers and strings in the fields of a struct array."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from adamae.errors import UserError

# Types of data elements: a matrix, compressed data, and arrays of numbers.
_MATRIX, _COMPRESSED = 14, 15
_DTYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_DTYPES |= {16: "u1", 17: "u2", 18: "u4"}  # UTF-8, 16 and 32, of which only ASCII is read
# Classes of arrays; all from _FIRST_NUMBER on contain numbers.
_STRUCT, _CHAR, _FIRST_NUMBER = 2, 4, 6
_HEADER = 128

Value = float | str | None


def read_struct(path: Path, name: str) -> list[dict[str, Value]]:
    """Read the elements of a struct array, in column-major order.

    Args:
        path: A file of version 5, little-endian, as MATLAB writes it.
        name: Name of the variable.

    Returns:
        The fields of each element: a number, a string, or None for other values.

    Raises:
        UserError: The file cannot be read, is not a MATLAB file of version 5, or has no such struct.
    """
    try:
        data = path.read_bytes()
        if data[126:128] != b"IM":
            raise ValueError("no MATLAB file of version 5")
        for kind, content in _elements(data[_HEADER:]):
            held = next(_elements(zlib.decompress(content))) if kind == _COMPRESSED else (kind, content)
            found = _struct(held[1], name) if held[0] == _MATRIX else None
            if found is not None:
                return found
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, IndexError, KeyError, struct.error, zlib.error, StopIteration) as error:
        raise UserError(f"{path}: damaged, or no MATLAB file of version 5 ({error})") from None
    raise UserError(f"{path}: has no struct {name}")


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (type, content) of each data element."""
    at = 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from("<2I", data, at)
        if kind >> 16:
            # A small element: type and size in the first four bytes, the content in the other four.
            yield kind & 0xFFFF, data[at + 4 : at + 4 + (kind >> 16)]
            at += 8
            continue
        yield kind, data[at + 8 : at + 8 + size]
        at += 8 + size + (0 if kind == _COMPRESSED else -size % 8)


def _struct(matrix: bytes, wanted: str) -> list[dict[str, Value]] | None:
    """Return the fields of all elements; None if the matrix is not a struct of that name."""
    elements = _elements(matrix)
    (_, flags), (_, shape), (_, name) = next(elements), next(elements), next(elements)
    if flags[0] != _STRUCT or name.decode("latin-1") != wanted:
        return None
    (_, length), (_, text) = next(elements), next(elements)
    width = int.from_bytes(length[:4], "little")
    names = [text[at : at + width].rstrip(b"\0").decode("latin-1") for at in range(0, len(text), width)]
    count = int(np.prod(np.frombuffer(shape, "<i4")))
    return [{field: _value(next(elements)[1]) for field in names} for _ in range(count)]


def _value(matrix: bytes) -> Value:
    if not matrix:
        return None
    elements = _elements(matrix)
    (_, flags), _, _ = next(elements), next(elements), next(elements)
    if flags[0] != _CHAR and flags[0] < _FIRST_NUMBER:
        return None
    kind, content = next(elements)
    values = np.frombuffer(content, f"<{_DTYPES[kind]}")
    if flags[0] == _CHAR:
        return "".join(map(chr, values.tolist()))
    return float(values[0]) if values.size == 1 else None
