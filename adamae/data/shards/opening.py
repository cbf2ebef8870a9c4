"""From what names shards to their videos, by an index beside them, one that is remembered, or the tars' own headers."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from adamae.data.shards.fetching import cache_folder, fetch
from adamae.data.shards.headers import read_headers
from adamae.data.shards.index import ShardIndex, index_of
from adamae.data.shards.names import INDEX_FILE, expand, is_remote, short_name
from adamae.data.whole_files import write_whole
from adamae.errors import UserError

CLASSES_FILE = "classes.txt"
# Waiting for a file system, not for a core.
_THREADS = 16
# Fewer are read before one has read that it takes a while.
_MANY = 32
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def open_index(source: str | Path) -> tuple[list[str], ShardIndex]:
    """The shards that a source names, and what lies in them.

    Args:
        source: As in :func:`~adamae.data.shards.names.expand`.

    Raises:
        UserError: A shard is missing or damaged, there are none or no videos in them, or labels do not fit together.
    """
    shards = expand(source)
    names = [Path(short_name(shard)).name for shard in shards]
    if len(set(shards)) < len(shards):
        raise UserError(f"{source}: names {next(one for one in shards if shards.count(one) > 1)} twice")
    sizes, times = _facts(shards, source)
    index = _find_index(shards, names, sizes, times)
    if index is None:
        index = _read_all(shards, sizes, times)
    if not len(index.shard):
        raise UserError(f"{source}: no video in {len(shards)} shards, expected members such as 000000.mp4")
    # Names that labels themselves gave stand in the index; names of numbers in a file that a person may change.
    return shards, index if index.classes else replace(index, classes=_class_names(shards))


def _facts(shards: Sequence[str], source: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """(S,) bytes and times of change; -1 and 0 for what lies elsewhere."""

    def look(shard: str) -> tuple[int, int] | None:
        if is_remote(shard):
            return -1, 0
        try:
            found = os.stat(shard)  # noqa: PTH116 (speed)
        except FileNotFoundError:
            return None
        return found.st_size, found.st_mtime_ns

    facts = _in_threads(look, shards)
    missing = [shard for shard, fact in zip(shards, facts, strict=True) if fact is None]
    if missing:
        some = f"{missing[0]}: no such shard"
        more = f"; {len(missing)} of the {len(shards)} that {source} names are missing" if len(shards) > 1 else ""
        raise UserError(some + more)
    sizes, times = np.array(facts, np.int64).reshape(-1, 2).T
    return sizes, times


def _find_index(shards: Sequence[str], names: Sequence[str], sizes: np.ndarray, times: np.ndarray) -> ShardIndex | None:
    """The index beside the shards, or the one remembered for them, if it fits."""
    if len(set(names)) == len(names):
        for beside in _beside(shards, INDEX_FILE):
            index = ShardIndex.load(beside)
            found = None if index is None else index.part(names, sizes, times)
            if found is not None:
                return found
    remembered = _remembered(shards)
    index = None if remembered is None else ShardIndex.load(remembered)
    return None if index is None else index.part(shards, sizes, times)


def _beside(shards: Sequence[str], name: str) -> Iterable[Path]:
    """A file in the folder of the shards, if they have one in common and it is there; fetched from elsewhere."""
    addresses = {shard.replace(Path(short_name(shard)).name, name) for shard in shards}
    if len(addresses) != 1:
        return
    (address,) = addresses
    if not is_remote(address):
        yield Path(address)
        return
    with suppress(UserError):
        yield fetch(address)


def _remembered(shards: Sequence[str]) -> Path | None:
    """Where the index of shards without one beside them is kept."""
    absolute = [shard if is_remote(shard) else os.path.abspath(shard) for shard in shards]  # noqa: PTH100 (speed)
    digest = hashlib.sha256("\n".join(absolute).encode("utf-8", "surrogateescape")).hexdigest()
    try:
        return cache_folder("indices") / f"{digest[:32]}.npz"
    except OSError:
        return None


def _read_all(shards: Sequence[str], sizes: np.ndarray, times: np.ndarray) -> ShardIndex:
    """The index from the headers of all shards; remembered where that can be."""
    remote = sum(map(is_remote, shards))
    if remote or len(shards) > _MANY:
        what = f"fetched ({remote} of {len(shards)}) and " if remote else ""
        warnings.warn(f"shards are {what}searched for videos, once: no index fits {shards[0]}", stacklevel=2)
    local = _in_threads(lambda shard: str(fetch(shard)) if is_remote(shard) else shard, shards)
    contents = _in_threads(read_headers, local)
    sizes = np.array([os.stat(path).st_size for path in local], np.int64)  # noqa: PTH116 (speed)
    index = index_of([short_name(shard) for shard in shards], sizes, times, contents)
    index = replace(index, shards=tuple(shards))
    place = _remembered(shards)
    if place is not None:
        with suppress(OSError):
            write_whole(place, index.as_bytes())
    return index


def _class_names(shards: Sequence[str]) -> tuple[str, ...] | None:
    """Those of ``classes.txt`` beside the shards."""
    for beside in _beside(shards, CLASSES_FILE):
        with suppress(OSError, UnicodeDecodeError):
            lines = beside.read_text(encoding="utf-8-sig").splitlines()
            return tuple(line.strip() for line in lines if line.strip()) or None
    return None


def _in_threads(function: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
    with ThreadPoolExecutor(min(_THREADS, max(len(items), 1))) as pool:
        return list(pool.map(function, items))
