"""Resolves a source to tar files: one file, a folder, a range in braces, or URLs.

``DIR/{000000..000999}.tar`` has the syntax of the webdataset library, and ``::`` joins several. An address that begins
with ``pipe:`` or a scheme such as ``https://`` is remote and opened by that library.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from braceexpand import braceexpand

from adamae.data.list_rows import is_video
from adamae.data.split_names import SPLIT_FILES
from adamae.data.walking import look_into
from adamae.errors import UserError
from adamae.lookup import exists, is_file, is_folder

INDEX_FILE = "adamae-index.npz"
# Written before the first shard when shards are packed.
MANIFEST = "pack.json"
_ELSEWHERE = re.compile(r"pipe:|[A-Za-z][A-Za-z0-9+.-]*://")
_COMPRESSED = (".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")
_LISTS = {f"{name}.csv" for names in SPLIT_FILES.values() for name in names}
_TAR = re.compile(r"[^\s'\"]+\.tar\b")


def is_remote(shard: str) -> bool:
    """Return whether a shard is remote and has to be fetched."""
    return _ELSEWHERE.match(shard) is not None and not shard.startswith("file://")


def short_name(shard: str) -> str:
    """Return the name of a shard in messages and paths: for a command, the tar file that it names."""
    found = _TAR.search(shard) if shard.startswith("pipe:") else None
    return found[0] if found else shard


def names_shards(source: str | Path) -> bool:
    """Return whether a source names shards, and not a list or a folder of videos.

    Raises:
        UserError: The source is a folder that cannot be read.
    """
    text = str(source)
    if _ELSEWHERE.match(text):
        return True
    place = Path(text)
    if is_folder(place):
        return is_shard_folder(place)
    return text.endswith((".tar", *_COMPRESSED)) or (("{" in text or "::" in text) and not exists(place))


def is_shard_folder(folder: Path) -> bool:
    """Return whether a folder contains shards: an index, or tar files and neither videos, folders nor lists of splits.

    Raises:
        UserError: The folder cannot be read.
    """
    if not is_folder(folder):
        return False
    _, files, folders, links = look_into(folder)
    if INDEX_FILE in files:
        return True
    if folders or links or any(is_video(name) or name in _LISTS for name in files):
        return False
    return any(_is_shard(name) for name in files)


def _is_shard(name: str) -> bool:
    """Return whether a file name is that of a shard, and not of a hidden file of macOS or of an interrupted call."""
    return name.endswith(".tar") and not name.startswith(".")


def shard_folder_of(folder: Path, split: str) -> Path | None:
    """Return the sub-folder with the shards of a split, if there is one."""
    places = (folder / name for name in SPLIT_FILES.get(split, (split,)))
    return next((place for place in places if is_shard_folder(place)), None)


def expand(source: str | Path) -> list[str]:
    """Return the shards that a source names, in order.

    Raises:
        UserError: Braces are not closed, a file is compressed or not a tar, or a folder contains no tar.
    """
    text = str(source)
    if is_folder(text):
        found = sorted(str(path) for path in Path(text).glob("*.tar") if _is_shard(path.name))
        if not found:
            raise UserError(f"{text}: holds {INDEX_FILE} and no tar file")
        _check_finished(Path(text), len(found))
        return found
    try:
        # The name of an existing file is not expanded, whatever characters it contains.
        shards = [text] if is_file(text) else [shard for part in text.split("::") for shard in braceexpand(part)]
    except ValueError as error:
        raise UserError(f"{text}: {error}, expected a range such as {{000000..000999}}.tar") from None
    for shard in shards:
        if shard.endswith(_COMPRESSED):
            raise UserError(f"{shard}: a compressed tar cannot be read at any place: unpack it to a plain .tar")
        if not is_remote(shard) and not shard.endswith(".tar"):
            raise UserError(f"{shard}: expected a name that ends in .tar, as all shards of {text} must")
    return [shard.removeprefix("file://") for shard in shards]


def _check_finished(folder: Path, there: int) -> None:
    try:
        planned = json.loads((folder / MANIFEST).read_text())["shards"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if isinstance(planned, int) and there < planned:
        raise UserError(f"{folder}: holds {there} of {planned} shards; the same call of `adamae pack` finishes them")
