"""Shards that lie elsewhere: fetched once, by the webdataset library, into a folder of this machine.

All are fetched before the first is read, so that no worker waits for one. The folder is ``shards`` in that of the
environment variable ADAMAE_CACHE, by default ``~/.cache/adamae``. Nothing is ever deleted there.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from adamae.data.shards.names import short_name
from adamae.errors import UserError
from adamae.files import replacing
from adamae.lookup import is_file

CACHE_VARIABLE = "ADAMAE_CACHE"
_AT_ONCE = 1 << 20
# A network's file system may have no locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_EXIT = re.compile(r": exit (\d+) \(")


def cache_folder(purpose: str) -> Path:
    """Where what can be made again is kept: a sub-folder of the cache, made if need be.

    Raises:
        OSError: It cannot be made.
    """
    base = os.environ.get(CACHE_VARIABLE) or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "adamae"
    folder = Path(base).expanduser() / purpose
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def local_copy(address: str) -> Path:
    """Where the copy of a shard lies, or will lie.

    Raises:
        UserError: The folder of copies cannot be made.
    """
    name = f"{hashlib.sha256(address.encode()).hexdigest()[:16]}-{Path(short_name(address)).name}"
    try:
        return cache_folder("shards") / name
    except OSError as error:
        raise _no_room("made", error) from None


def _no_room(what: str, error: OSError) -> UserError:
    place = error.filename or "the folder for copies of shards"
    return UserError(f"{place}: cannot be {what} ({error.strerror}): name another cache folder with {CACHE_VARIABLE}")


def fetch(address: str) -> Path:
    """The copy of what lies at an address; fetched unless it is there.

    Processes that want the same one wait for the first of them.

    Args:
        address: What the webdataset library opens: ``pipe:COMMAND`` or an address with a scheme.

    Raises:
        UserError: The library is not installed, it cannot fetch it, or the copy cannot be written.
    """
    target = local_copy(address)
    if is_file(target):
        return target
    try:
        with alone(target):
            if not is_file(target):
                _download(address, target)
    except OSError as error:
        raise _no_room("written", error) from None
    return target


def _download(address: str, target: Path) -> None:
    if find_spec("webdataset") is None:
        raise UserError(f"{short_name(address)}: needs the package 'webdataset' to be fetched, which is not installed")
    import webdataset

    try:
        with replacing(target) as temporary:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                # Closing asks the program that fetches whether it went well: what came before it failed is no shard.
                with webdataset.gopen(address) as stream, temporary.open("wb") as file:
                    shutil.copyfileobj(stream, file, _AT_ONCE)
            if not temporary.stat().st_size:
                raise OSError("nothing came")
    except (OSError, ValueError) as error:
        raise UserError(f"{short_name(address)}: cannot be fetched ({_reason(error)})") from None


def _reason(error: Exception) -> str:
    """What went wrong, out of the library's message, which shows its own insides."""
    text = str(error).strip().partition("\n")[0]
    if "no gopen handler" in text:
        return "the webdataset library knows no such scheme; for S3 write pipe:aws s3 cp s3://BUCKET/000000.tar -"
    left = _EXIT.search(text)
    return f"the program that fetches it left with code {left[1]}" if left else text[:200] or type(error).__name__


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """Let one thread of one process of this machine at a time make a file.

    Raises:
        OSError: Nothing can be written beside it.
    """
    try:
        import fcntl
    except ImportError:  # Windows: some may fetch the same shard, and the last copy stays
        yield
        return
    with file.with_name(f".{file.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            # As on Windows.
            if error.errno not in _NO_LOCKS:
                raise
        yield
