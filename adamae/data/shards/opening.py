"""Finds the videos of shards from an index beside them, a cached index, or the headers of the tars."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from adamae.data.class_names import CLASSES_FILE, read_class_names
from adamae.data.shards.fetching import alone, fetch, local_copy
from adamae.data.shards.headers import read_headers
from adamae.data.shards.index import ShardIndex, index_of
from adamae.data.shards.names import INDEX_FILE, expand, is_remote, short_name
from adamae.data.threads import in_threads
from adamae.errors import UserError
from adamae.files import cache_folder, write_whole
from adamae.lookup import exists, is_file

# Fewer shards are read too quickly for a log message.
_MANY = 32
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class FoundShards:
    """Shards and their videos.

    Attributes:
        names: (S,) name of each shard in paths and messages.
        paths: (S,) path of each shard or of its local copy.
        index: Index of the videos.
    """

    names: tuple[str, ...]
    paths: tuple[str, ...]
    index: ShardIndex


def find_shards(source: str | Path) -> FoundShards:
    """Find the shards that a source names. Remote shards are fetched.

    Args:
        source: As in :func:`~adamae.data.shards.names.expand`.

    Raises:
        UserError: A shard is missing or damaged, there are no shards or no videos in them, or labels are inconsistent.
    """
    shards = expand(source)
    if len(set(shards)) < len(shards):
        raise UserError(f"{source}: names {next(one for one in shards if shards.count(one) > 1)} twice")
    names = tuple(map(short_name, shards))
    paths = _fetch_all(shards)
    sizes, times = _facts(paths, source)
    index = _beside_them(shards, names, sizes, times) or _remembered(paths, names, sizes, times)
    if not len(index.shard):
        raise UserError(f"{source}: no video or image in {len(shards)} shards, expected members such as 000000.mp4")
    if index.classes is None:
        # The index has class names if labels are names. Names of numbers are in a file that users may edit.
        index = replace(index, classes=_class_names(shards, names))
    return FoundShards(names, tuple(paths), index)


def _fetch_all(shards: Sequence[str]) -> list[str]:
    """Return the path of each shard, or of its local copy if it is remote. Missing copies are fetched."""
    missing = [local_copy(shard) for shard in shards if is_remote(shard) and not exists(local_copy(shard))]
    if missing:
        _LOG.warning("fetching %d of %d shards to %s", len(missing), len(shards), missing[0].parent)
    return in_threads(lambda shard: str(fetch(shard)) if is_remote(shard) else shard, shards)


def _facts(paths: Sequence[str], source: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Return (S,) sizes in bytes and (S,) modification times in nanoseconds."""

    def look(path: str) -> tuple[int, int] | None:
        try:
            found = os.stat(path)  # noqa: PTH116 (speed)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise UserError(f"{path}: the shard cannot be read ({error.strerror})") from None
        return found.st_size, found.st_mtime_ns

    facts = in_threads(look, paths)
    missing = [path for path, fact in zip(paths, facts, strict=True) if fact is None]
    if missing:
        more = f"; {len(missing)} of the {len(paths)} that {source} names are missing" if len(paths) > 1 else ""
        raise UserError(f"{missing[0]}: no such shard{more}")
    sizes, times = np.array(facts, np.int64).reshape(-1, 2).T
    return sizes, times


def _beside_them(
    shards: Sequence[str], names: Sequence[str], sizes: np.ndarray, times: np.ndarray
) -> ShardIndex | None:
    """Return the index beside the shards, if it matches them."""
    addresses = _beside(shards, names, INDEX_FILE)
    place = _local(addresses[0]) if len(addresses) == 1 else None
    index = None if place is None else ShardIndex.load(place)
    return None if index is None else index.part([Path(name).name for name in names], sizes, times)


def _beside(shards: Sequence[str], names: Sequence[str], file: str) -> list[str]:
    """Return the addresses of a file in the folders of the shards, each once, in the order of the shards."""

    def address(shard: str, name: str) -> str:
        # A command may name its shard twice, and in any place (cat A/0.tar || cat B/0.tar).
        if shard.startswith("pipe:"):
            return shard.replace(name, file)
        before, _, after = shard.rpartition(name)
        return f"{before}{file}{after}"

    pairs = zip(shards, names, strict=True)
    return list(dict.fromkeys(address(shard, Path(name).name) for shard, name in pairs))


def _local(address: str) -> Path | None:
    """Return a file beside the shards, or its local copy; None if it is missing."""
    if not is_remote(address):
        return Path(address) if is_file(address) else None
    with suppress(UserError):
        return fetch(address)
    return None


def _class_names(shards: Sequence[str], names: Sequence[str]) -> tuple[str, ...] | None:
    """Read ``classes.txt`` beside the shards, if there is one.

    Raises:
        UserError: It is in some folders only, or differs between them.
    """
    addresses = _beside(shards, names, CLASSES_FILE)
    found = {address: place for address in addresses if (place := _local(address)) is not None}
    if not found:
        return None
    first, *others = addresses
    expected = "expected the same file beside all shards"
    for address in addresses:
        if address not in found:
            raise UserError(
                f"{address}: missing, but {next(iter(found))} names the classes of other shards; {expected}"
            )
    classes = read_class_names(found[first])
    for address in others:
        if read_class_names(found[address]) != classes:
            raise UserError(f"{address}: other classes than in {first}; {expected}")
    return classes


def _remembered(paths: Sequence[str], names: Sequence[str], sizes: np.ndarray, times: np.ndarray) -> ShardIndex:
    """Return the cached index if it matches the shards; otherwise read all headers and cache the index."""
    absolute = [os.path.abspath(path) for path in paths]  # noqa: PTH100 (speed)
    digest = hashlib.sha256("\n".join(absolute).encode("utf-8", "surrogateescape")).hexdigest()
    try:
        place = cache_folder("indices") / f"{digest[:32]}.npz"
        # The other processes of a run wait for the first one, which reads the headers.
        with alone(place):
            index = ShardIndex.load(place)
            found = None if index is None else index.part(absolute, sizes, times)
            if found is None:
                found = replace(_read_headers(paths, names, sizes, times), shards=tuple(absolute))
                write_whole(place, found.as_bytes())
            return found
    except OSError:
        # Continue without a cache that cannot be written.
        return _read_headers(paths, names, sizes, times)


def _read_headers(paths: Sequence[str], names: Sequence[str], sizes: np.ndarray, times: np.ndarray) -> ShardIndex:
    if len(paths) > _MANY:
        _LOG.warning("looking for videos and images in %d shards, once: no index fits them", len(paths))
    return index_of(names, sizes, times, in_threads(read_headers, paths))
