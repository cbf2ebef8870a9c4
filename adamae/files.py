"""Atomic writes of files and folders, reads that report damaged files, and the cache folder."""

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
from adamae.file_locks import lock
from adamae.lookup import exists, is_folder
from adamae.plain_text import first_line

# In bytes, on nearly all file systems.
LONGEST_NAME = 255
# Environment variable that names the cache folder.
CACHE_VARIABLE = "ADAMAE_CACHE"
# Prefix of the names of incomplete files; a killed process leaves them behind.
TEMPORARY_PREFIX = ".unfinished-"
_LONGEST_SUFFIX = 16
# Errors of file systems for calls that they do not support.
_UNKNOWN = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to, then flush it to the disk and rename it to ``path``.

    After an error ``path`` is unchanged and the temporary file is removed.

    Raises:
        OSError: If the file cannot be written.
    """
    # A random name, so that several processes can write the same file, on any machine. It does not contain the name of
    # the file, which may already have the maximum length. The suffix is kept because numpy and Pillow depend on it.
    suffix = path.suffix if len(path.suffix) < _LONGEST_SUFFIX else ""
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{os.urandom(8).hex()}{suffix}")
    try:
        yield temporary
        flush(temporary)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def cut_name(name: str, most: int) -> str:
    """Truncate a file name to complete characters of at most ``most`` bytes; a name may have LONGEST_NAME in total."""
    while len(os.fsencode(name)) > most:
        name = name[:-1]
    return name


def flush(path: Path) -> None:
    """Flush a file, or a directory if its file system supports that, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # FUSE and SMB may not support fsync of directories; they are then written at some later time.
        if error.errno not in _UNKNOWN or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file atomically.

    Raises:
        OSError: If the file cannot be written; an existing file is then unchanged.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def publish(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file atomically with the function ``write``, and create its parent folders.

    Raises:
        UserError: If the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            write(temporary)
    except Exception as error:
        raise UserError(f"{path}: cannot be written ({first_line(error)})") from error


def check_writable(path: Path, *, folder: bool = False) -> None:
    """Check before a computation that its result can be written, without creating anything.

    Args:
        path: A file or folder; neither it nor its parent folders need to exist.
        folder: Whether the path is a folder.

    Raises:
        UserError: If the path cannot be written.
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
    """Return whether the path is a leftover of an interrupted :func:`replacing`."""
    return path.name.startswith(TEMPORARY_PREFIX)


def remove_temporaries(folder: Path) -> None:
    """Remove the leftovers of interrupted calls of :func:`replacing` from a folder."""
    for path in folder.iterdir():
        if is_temporary(path):
            path.unlink(missing_ok=True)


def is_begun(folder: Path, name: str, options: Mapping[str, Any]) -> bool:
    """Return whether work in a folder was started with these options; False if it was not started.

    Args:
        folder: Folder of the results.
        name: Name of the file in the folder that contains the options.
        options: All options that determine the results.

    Raises:
        UserError: If work was started with other options, or the folder contains other files.
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
    """Create a folder with a file of its options, unless it exists with the same options.

    Raises:
        UserError: If work was started with other options, or the folder contains other files.
        OSError: If the folder cannot be written.
    """
    if not is_begun(folder, name, options):
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / name, json.dumps(options, indent=1).encode() + b"\n")


@contextmanager
def begun(folder: Path, name: str, options: Mapping[str, Any]) -> Iterator[None]:
    """Within this context the folder of :func:`begin` is locked, and has no temporary files of interrupted calls.

    Raises:
        UserError: As for :func:`begin`, or another process has the folder locked.
        OSError: If the folder cannot be written.
    """
    begin(folder, name, options)
    # Opened for writing, since NFS locks no others.
    with (folder / name).open("r+b") as file:
        # A file that another process has replaced since, because both began at once, is not the one that it has locked.
        if not lock(file) or not os.path.samestat(os.fstat(file.fileno()), (folder / name).stat()):
            raise UserError(f"{folder}: another process writes to it; wait until it ends")
        remove_temporaries(folder)
        yield


def sha256_of(path: Path) -> str:
    """Return the SHA-256 checksum of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class DamagedNpzError(ValueError):
    """The file is not an .npz file, or it is incomplete."""


def read_npz(path: str | Path) -> dict[str, np.ndarray]:
    """Read all arrays of an .npz file, by name.

    Raises:
        FileNotFoundError: If the file does not exist.
        DamagedNpzError: If the file cannot be read for any other reason.
    """
    try:
        with np.load(path) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise
    # On damaged bytes, zipfile and numpy raise many kinds of exceptions: a wrong version is a NotImplementedError, a
    # set encryption flag a RuntimeError.
    except Exception as error:
        raise DamagedNpzError(str(error) or type(error).__name__) from None


def cache_folder(purpose: str) -> Path:
    """Return a sub-folder of the cache, for files that can be created again. The folder is created if needed.

    Raises:
        OSError: The folder cannot be created.
    """
    base = os.environ.get(CACHE_VARIABLE) or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "adamae"
    folder = Path(base).expanduser() / purpose
    folder.mkdir(parents=True, exist_ok=True)
    return folder
