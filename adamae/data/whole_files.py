"""Small files that are there as a whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from adamae.errors import UserError

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


def check_writable(path: Path, *, folder: bool = False) -> None:
    """Refuse before the work what could not be written after it. Nothing is made, and nothing is left behind.

    Args:
        path: Of a file or folder that may not be there yet, as may be the folders above it.
        folder: Whether it is to be a folder.

    Raises:
        UserError: It could not be written.
    """
    try:
        if path.exists() and path.is_dir() != folder:
            wrong = errno.ENOTDIR if folder else errno.EISDIR
            raise OSError(wrong, os.strerror(wrong))
        place = path if folder else path.parent
        while not place.exists():
            place = place.parent
        tempfile.TemporaryFile(dir=place).close()
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None


def is_temporary(path: Path) -> bool:
    """Whether :func:`write_whole` was interrupted while it wrote this."""
    return path.name.startswith(_PREFIX)


def remove_temporaries(folder: Path) -> None:
    """Take away what interrupted calls of :func:`write_whole` left in a folder."""
    for path in folder.iterdir():
        if is_temporary(path):
            path.unlink(missing_ok=True)
