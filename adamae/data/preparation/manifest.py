"""The options a folder of results was begun with: it goes on with the same ones or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adamae.data.whole_files import is_temporary, write_whole
from adamae.errors import UserError

MANIFEST = "prepare.json"
# Raised when the same options give other files than before.
_VERSION = 1


def check_manifest(folder: Path, options: Mapping[str, Any]) -> bool:
    """Whether the folder was begun with these options; False if it was not begun at all.

    Raises:
        UserError: It was begun with others, or holds something else.
    """
    path = folder / MANIFEST
    wanted = _plain(options)
    if not path.exists():
        if folder.exists() and (not folder.is_dir() or any(not is_temporary(entry) for entry in folder.iterdir())):
            raise UserError(f"{folder} exists and holds no {MANIFEST}: expected a new or empty folder")
        return False
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        differing = [name for name in wanted if found.get(name) != wanted[name]]
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{path} cannot be read: delete {folder}, or choose another folder") from error
    if differing:
        name = differing[0]
        raise UserError(
            f"{folder} was begun with {name} = {found.get(name)}, got {name} = {wanted[name]}: "
            "delete it, or choose another folder"
        )
    return True


def begin(folder: Path, options: Mapping[str, Any]) -> None:
    """Make the folder with its manifest, unless it is there with these options.

    Raises:
        UserError: It was begun with others, or holds something else.
        OSError: It cannot be written.
    """
    if not check_manifest(folder, options):
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / MANIFEST, json.dumps(_plain(options), indent=1).encode() + b"\n")


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps({"version": _VERSION, **options}))
    return plain
