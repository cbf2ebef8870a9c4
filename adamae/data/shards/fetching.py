"""Fetches remote shards once, with the webdataset library, into a folder of this machine.

All shards are fetched before the first is read, so that no worker waits for one. The folder is ``shards`` below the
cache folder, which is named by the environment variable ADAMAE_CACHE and is ``~/.cache/adamae`` by default. Nothing is
ever deleted there.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from adamae.data.shards.names import short_name
from adamae.errors import UserError
from adamae.file_locks import lock
from adamae.files import CACHE_VARIABLE, cache_folder, replacing
from adamae.lookup import is_file

_AT_ONCE = 1 << 20
_EXIT = re.compile(r": exit (\d+) \(")


def local_copy(address: str) -> Path:
    """Return the path of the local copy of a shard, which may not exist yet.

    Raises:
        UserError: The folder of copies cannot be created.
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
    """Return the local copy of a file at an address, which is fetched if it does not exist.

    Processes that need the same file wait for the first of them.

    Args:
        address: Address that the webdataset library opens: ``pipe:COMMAND`` or a URL.

    Raises:
        UserError: The library is not installed, it cannot fetch the file, or the copy cannot be written.
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
                # Closing raises if the program that fetches failed: its output up to then is not a complete shard.
                with webdataset.gopen(address) as stream, temporary.open("wb") as file:
                    shutil.copyfileobj(stream, file, _AT_ONCE)
            if not temporary.stat().st_size:
                raise OSError("nothing came")
    except (OSError, ValueError) as error:
        raise UserError(f"{short_name(address)}: cannot be fetched ({_reason(error)})") from None


def _reason(error: Exception) -> str:
    """Return the cause from the library's message, which contains internal details."""
    text = str(error).strip().partition("\n")[0]
    if "no gopen handler" in text:
        return "the webdataset library knows no such scheme; for S3 write pipe:aws s3 cp s3://BUCKET/000000.tar -"
    left = _EXIT.search(text)
    return f"the program that fetches it left with code {left[1]}" if left else text[:200] or type(error).__name__


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """Lock a file, so that one thread of one process of this machine at a time creates it.

    Raises:
        OSError: The lock file beside it cannot be written.
    """
    # Without locks several processes may create it, and the last one is kept.
    with file.with_name(f".{file.name}.lock").open("w") as beside:
        lock(beside, wait=True)
        yield
