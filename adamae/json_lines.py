"""Files of one JSON value per line, which a process that is killed leaves readable."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

_CUT_OFF = object()


class JsonLines:
    """A file that only grows. A line that was cut off is passed over, and does not swallow the next one.

    Args:
        path: The file; made with the first line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, values: Iterable[Any]) -> None:
        """Write lines that are on their way to the disk when this returns.

        Raises:
            OSError: They cannot be written.
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
        """The values of all whole lines; none where there is no file.

        Raises:
            OSError: It cannot be read.
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
