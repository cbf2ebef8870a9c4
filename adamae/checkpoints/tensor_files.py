"""Safetensors files, with a checksum where we wrote them."""

from __future__ import annotations

import json
import stat
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from adamae.errors import UserError
from adamae.files import publish

# The entry of the file's metadata that is ours: JSON.
OURS = "adamae"
_CHECKSUM = "crc32"


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors of a safetensors file, on the CPU, and what we wrote beside them.

    The format itself has no checksum: of a file that we did not write, flipped bits inside the numbers go unseen.

    Returns:
        Tensors by name; the description given to :func:`write_tensors`, empty for the files of others.

    Raises:
        UserError: If the file is damaged or is no such file.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
    except Exception as error:
        raise UserError(f"{path}: damaged, or not a safetensors file ({_one_line(error)})") from error
    if OURS not in metadata:
        return tensors, {}
    try:
        description = json.loads(metadata[OURS])
        promised = description.pop(_CHECKSUM)
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise UserError(f"{path}: damaged: the config cannot be read") from error
    if _checksum(tensors, description) != promised:
        raise UserError(f"{path}: damaged: it differs from its checksum")
    return tensors, description


def write_tensors(path: Path, tensors: Mapping[str, Tensor], description: Mapping[str, Any]) -> None:
    """Write a safetensors file whole or not at all.

    Args:
        path: The file.
        tensors: What to write; stored densely, each for itself.
        description: JSON that stands in the file's metadata and is under its checksum.

    Raises:
        UserError: If it cannot be written.
    """
    dense = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    plain = json.loads(json.dumps(dict(description)))
    ours = json.dumps({**plain, _CHECKSUM: _checksum(dense, plain)}, sort_keys=True)
    # Transformers wants to read "pt" there.
    publish(path, lambda temporary: save_tensors(temporary, dense, {"format": "pt", OURS: ours}))


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """``save_file`` of safetensors with the access rights that any new file gets: its own are the owner's alone.

    Args:
        path: The file; what was there goes.
        tensors: On the CPU, contiguous, none of them sharing memory.
        metadata: Texts for its header.

    Raises:
        OSError: It cannot be written.
        SafetensorError: Likewise.
    """
    path.unlink(missing_ok=True)
    path.touch()
    usual = stat.S_IMODE(path.stat().st_mode)
    save_file(dict(tensors), path, dict(metadata))
    # Not every file system has rights to set, and no tensors should be lost for that.
    with suppress(OSError):
        path.chmod(usual)


def _checksum(tensors: Mapping[str, Tensor], description: Mapping[str, Any]) -> int:
    total = zlib.crc32(json.dumps(description, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        total = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), total)
        total = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, total)
    return total


def _one_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
