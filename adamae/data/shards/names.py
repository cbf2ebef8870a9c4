"""Which tar files a source of videos names: one, a folder of them, a range in braces, or addresses.

``DIR/{000000..000999}.tar`` is spelt as in the webdataset library, and ``::`` joins several. What begins with
``pipe:`` or a scheme such as ``https://`` lies elsewhere and is opened by that library.
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
from adamae.files import is_temporary
from adamae.lookup import exists, is_file, is_folder

INDEX_FILE = "adamae-index.npz"
# Written before the first shard by what packs them.
MANIFEST = "pack.json"
_ELSEWHERE = re.compile(r"pipe:|[A-Za-z][A-Za-z0-9+.-]*://")
_COMPRESSED = (".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")
_TAR = re.compile(r"[^\s'\"]+\.tar\b")


def is_remote(shard: str) -> bool:
    """Whether a shard lies elsewhere, so that it has to be fetched."""
    return _ELSEWHERE.match(shard) is not None and not shard.startswith("file://")


def short_name(shard: str) -> str:
    """A shard in messages and paths: of a command that fetches it, the tar file that it names."""
    found = _TAR.search(shard) if shard.startswith("pipe:") else None
    return found[0] if found else shard


def names_shards(source: str | Path) -> bool:
    """Whether a source is shards and no list or folder of videos.

    Raises:
        UserError: It is a folder that cannot be read.
    """
    text = str(source)
    if _ELSEWHERE.match(text):
        return True
    place = Path(text)
    if is_folder(place):
        return is_shard_folder(place)
    return text.endswith((".tar", *_COMPRESSED)) or (("{" in text or "::" in text) and not exists(place))


def is_shard_folder(folder: Path) -> bool:
    """Whether a folder holds shards: tar files, and neither videos nor folders, which would be the source then.

    Raises:
        UserError: It cannot be read.
    """
    if not is_folder(folder):
        return False
    _, files, folders, links = look_into(folder)
    if INDEX_FILE in files:
        return True
    videos = any(is_video(name) for name in files)
    return any(name.endswith(".tar") for name in files) and not videos and not folders and not links


def shard_folder_of(folder: Path, split: str) -> Path | None:
    """The sub-folder with the shards of a split, if there is one."""
    places = (folder / name for name in SPLIT_FILES.get(split, (split,)))
    return next((place for place in places if is_shard_folder(place)), None)


def expand(source: str | Path) -> list[str]:
    """The shards that a source names, in order.

    Raises:
        UserError: Braces that do not close, a compressed tar, something else than a tar, or a folder without any.
    """
    text = str(source)
    if is_folder(text):
        found = sorted(str(path) for path in Path(text).glob("*.tar") if not is_temporary(path))
        if not found:
            raise UserError(f"{text}: holds {INDEX_FILE} and no tar file")
        _check_finished(Path(text), len(found))
        return found
    try:
        # A file is what its name says, whatever stands in it.
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
