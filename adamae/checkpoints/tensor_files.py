"""Safetensors files, with a checksum in the files written by this package."""

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
from adamae.plain_text import first_line

# Key of our JSON entry in the file's metadata.
OURS = "adamae"
_CHECKSUM = "crc32"


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the tensors of a safetensors file on the CPU, and the description that this package stores beside them.

    The format itself has no checksum: flipped bits in a tensor of another program's file are not detected.

    Returns:
        Tensors by name, and the description passed to :func:`write_tensors`; empty for files of other programs.

    Raises:
        UserError: If the file is damaged or is not a safetensors file.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
    except Exception as error:
        raise UserError(f"{path}: damaged, or not a safetensors file ({first_line(error)})") from error
    if OURS not in metadata:
        return tensors, {}
    try:
        description = json.loads(metadata[OURS])
        promised = description.pop(_CHECKSUM)
        text = json.dumps(description, sort_keys=True)
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: damaged: the config cannot be read") from error
    if _checksum(tensors, text) != promised:
        raise UserError(f"{path}: damaged: it differs from its checksum")
    return tensors, description


def write_tensors(path: Path, tensors: Mapping[str, Tensor], description: Mapping[str, Any]) -> None:
    """Write a safetensors file atomically.

    Args:
        path: The file.
        tensors: Tensors by name; stored contiguously, without shared memory.
        description: JSON values for the file's metadata, covered by the checksum.

    Raises:
        UserError: If it cannot be written.
    """
    dense = with_own_storage({name: tensor.detach().cpu() for name, tensor in tensors.items()})
    plain = json.loads(json.dumps(dict(description)))
    checksum = _checksum(dense, json.dumps(plain, sort_keys=True))
    ours = json.dumps({**plain, _CHECKSUM: checksum}, sort_keys=True)
    # Transformers requires the entry format = "pt".
    publish(path, lambda temporary: save_tensors(temporary, dense, {"format": "pt", OURS: ours}))


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Call safetensors' ``save_file``, with the default permissions of a new file instead of owner-only ones.

    Args:
        path: The file; an existing one is replaced.
        tensors: Tensors by name, on the CPU, contiguous, without shared memory.
        metadata: Strings for the file's header.

    Raises:
        OSError: If the file cannot be written.
        SafetensorError: If the file cannot be written.
    """
    path.unlink(missing_ok=True)
    path.touch()
    usual = stat.S_IMODE(path.stat().st_mode)
    save_file(dict(tensors), path, dict(metadata))
    # Some file systems do not support permissions; that must not fail the save.
    with suppress(OSError):
        path.chmod(usual)


def with_own_storage(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors contiguous and each in a storage of its own size; those that are so already are not copied.

    A view would be written with the whole storage that it is a part of, or refused. Most tensors of a checkpoint are
    memory-mapped, so copies of them would take as much memory as the file.

    Args:
        tensors: Tensors by name, on the CPU.
    """
    result: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        own = tensor.contiguous()
        if own.untyped_storage().nbytes() != own.numel() * own.element_size() or own.data_ptr() in seen:
            own = own.clone()
        seen.add(own.data_ptr())
        result[name] = own
    return result


def _checksum(tensors: Mapping[str, Tensor], description: str) -> int:
    total = zlib.crc32(description.encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        total = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), total)
        total = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, total)
    return total
