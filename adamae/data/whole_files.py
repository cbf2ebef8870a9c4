"""Small files that are there as a whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_PREFIX = ".unfinished-"


def write_whole(path: Path, content: bytes) -> None:
    """Write under another name, flush to the disk, then give the name.

    Raises:
        OSError: It cannot be written; what was there before is still there.
    """
    # Of several processes that write the same, none gets in the way of another.
    temporary = path.with_name(f"{_PREFIX}{path.name}-{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def is_temporary(path: Path) -> bool:
    """Whether :func:`write_whole` was interrupted while it wrote this."""
    return path.name.startswith(_PREFIX)


def remove_temporaries(folder: Path) -> None:
    """Take away what interrupted calls of :func:`write_whole` left in a folder."""
    for path in folder.iterdir():
        if is_temporary(path):
            path.unlink(missing_ok=True)
