"""Files with one JSON value per line, which stay readable if the process is killed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

_CUT_OFF = object()


class JsonLines:
    """An append-only file. A truncated line is skipped on reading, and later lines start on a new line.

    Args:
        path: The file; created with the first line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, values: Iterable[Any]) -> None:
        """Append values as lines and pass them to the operating system.

        Raises:
            OSError: If the lines cannot be written.
        """
        text = "".join(json.dumps(value) + "\n" for value in values)
        if not text:
            return
        with self.path.open("a+b") as file:
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                text = text if file.read(1) == b"\n" else "\n" + text
            file.write(text.encode())

    def read(self) -> Iterator[Any]:
        """Yield the values of all complete lines; none if the file does not exist.

        Raises:
            OSError: If the file cannot be read.
        """
        if not self.path.exists():
            return
        with self.path.open(encoding="utf-8", errors="replace") as lines:
            yield from (value for value in map(_parsed, lines) if value is not _CUT_OFF)


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return _CUT_OFF
