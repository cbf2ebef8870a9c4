"""Files and folders that are written as a whole or not at all, and the damage of those that are read."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from adamae.errors import UserError
from adamae.lookup import exists, is_folder

# Bytes, on nearly all file systems.
LONGEST_NAME = 255
_PREFIX = ".unfinished-"
_LONGEST_SUFFIX = 16
# What file systems answer to a call that they do not have.
_UNKNOWN = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; what lies there takes the place of ``path`` at the end, on the disk as well.

    After an error, ``path`` is as it was, and nothing is left beside it.

    Raises:
        OSError: It cannot be written.
    """
    # Of several processes that write the same file, none gets in the way of another, on whichever machine. A name may
    # be as long as names can be. The suffix stays: numpy and Pillow go by it.
    suffix = path.suffix if len(path.suffix) < _LONGEST_SUFFIX else ""
    temporary = path.with_name(f"{_PREFIX}{os.urandom(8).hex()}{suffix}")
    try:
        yield temporary
        flush(temporary)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def cut_name(name: str, most: int) -> str:
    """The beginning of a file's name, whole characters of at most so many bytes: LONGEST_NAME are allowed in all."""
    while len(os.fsencode(name)) > most:
        name = name[:-1]
    return name


def flush(path: Path) -> None:
    """Wait until a file, or a directory where its file system knows how to, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # FUSE and SMB may not know it of directories, which are then written when they are.
        if error.errno not in _UNKNOWN or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file as a whole or not at all.

    Raises:
        OSError: It cannot be written; what was there before is still there.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def publish(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file, which then takes the place of ``path``; folders are made.

    Raises:
        UserError: It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            write(temporary)
    except Exception as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise UserError(f"{path}: cannot be written ({reason})") from error


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
    """Whether an interrupted :func:`replacing` left this."""
    return path.name.startswith(_PREFIX)


def remove_temporaries(folder: Path) -> None:
    """Take away what interrupted calls of :func:`replacing` left in a folder."""
    for path in folder.iterdir():
        if is_temporary(path):
            path.unlink(missing_ok=True)


def is_begun(folder: Path, name: str, options: Mapping[str, Any]) -> bool:
    """Whether work in a folder was begun with these options; False if it was not begun at all.

    Args:
        folder: Of the results.
        name: Of the file in it that holds the options.
        options: All that the results follow from.

    Raises:
        UserError: It was begun with others, or the folder holds something else.
    """
    path, wanted = folder / name, json.loads(json.dumps(options))
    if not exists(path):
        if exists(folder) and (not is_folder(folder) or _holds_anything(folder)):
            raise UserError(f"{folder} exists and contains no {name}: expected a new or empty folder")
        return False
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        differing = [option for option in wanted if found.get(option) != wanted[option]]
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{path} cannot be read: delete {folder}, or choose another folder") from error
    if differing:
        option = differing[0]
        raise UserError(
            f"{folder} was started with {option} = {found.get(option)}, got {option} = {wanted[option]}: "
            "delete it, or choose another folder"
        )
    return True


def _holds_anything(folder: Path) -> bool:
    try:
        return any(not is_temporary(entry) for entry in folder.iterdir())
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror})") from None


def begin(folder: Path, name: str, options: Mapping[str, Any]) -> None:
    """Make a folder with the file that holds its options, unless it is there with the same ones.

    Raises:
        UserError: It was begun with others, or the folder holds something else.
        OSError: It cannot be written.
    """
    if not is_begun(folder, name, options):
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / name, json.dumps(options, indent=1).encode() + b"\n")


def sha256_of(path: Path) -> str:
    """The checksum of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class DamagedNpzError(ValueError):
    """The file is no .npz file, or not whole."""


def read_npz(path: str | Path) -> dict[str, np.ndarray]:
    """All arrays of a file, by name.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedNpzError: It cannot be read, whatever the reason.
    """
    try:
        with np.load(path) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise
    # Of damaged bytes, zipfile and numpy raise whatever comes: a wrong version is a NotImplementedError, a flag that
    # says the file is encrypted a RuntimeError.
    except Exception as error:
        raise DamagedNpzError(str(error) or type(error).__name__) from None
