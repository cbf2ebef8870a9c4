"""A checkpoint of a run, with checksums that are verified when it is read.

step-00000120/model.safetensors    weights under their official names
              training.pt          optimiser, loss scale and state of the training loop
              meta.json            step, metadata, sizes and SHA-256 of the files, its own SHA-256, and the earlier
                                   checkpoints of the run
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from adamae.checkpoints.tensor_files import save_tensors
from adamae.errors import UserError
from adamae.files import flush, sha256_of
from adamae.plain_text import first_line

WEIGHTS = "model.safetensors"
TRAINING = "training.pt"
META = "meta.json"
# Errors of a file that is not there.
MISSING = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class DamagedError(UserError):
    """A corrupt checkpoint; the message names the file and the difference."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose files have been verified.

    Attributes:
        directory: Directory of the checkpoint.
        step: Completed steps.
        meta: The ``meta`` argument of :func:`write_checkpoint`.
        seal: Checksum of its metadata, which distinguishes it from another run's checkpoint of the same step.
        before: Seals of the run's checkpoints that existed when it was written, by name. None if not stored, as in
            older releases.
    """

    directory: Path
    step: int
    meta: dict[str, Any]
    seal: str = ""
    before: Mapping[str, str] | None = None

    @classmethod
    def open(cls, directory: str | Path) -> Checkpoint:
        """Verify and open a checkpoint.

        Raises:
            DamagedError: If a file is missing, truncated, differs from its checksum, or is none of a checkpoint.
            UserError: If a file exists but cannot be read.
        """
        directory = Path(directory)
        return cls.of_meta(directory, read_meta(directory / META))

    @classmethod
    def of_meta(cls, directory: Path, content: Mapping[str, Any]) -> Checkpoint:
        """Verify the files that the metadata of :func:`read_meta` list, and open the checkpoint.

        Raises:
            DamagedError: If a file is missing, truncated or differs from its checksum.
            UserError: If a file exists but cannot be read.
        """
        for name, promised in content["files"].items():
            _check_file(directory / name, promised)
        return cls(directory, content["step"], content["meta"], content["seal"], content.get("before"))

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the model's state dict without loading the tensors."""
        with _weights_readable(self.directory), safe_open(self.directory / WEIGHTS, "pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  (no mapping)

    def weights(self) -> dict[str, Tensor]:
        """Return the model's state dict on the CPU, memory-mapped (see :meth:`training`)."""
        with _weights_readable(self.directory):
            return load_file(self.directory / WEIGHTS)

    def training(self) -> dict[str, Any]:
        """Return the rest of the state needed to resume, on the CPU.

        The tensors are memory-mapped: the processes of a machine share one copy in the page cache, and only the parts
        that are accessed are read. Copy tensors that must outlive the file.
        """
        return torch.load(self.directory / TRAINING, map_location="cpu", weights_only=True, mmap=True)


def write_checkpoint(
    directory: Path,
    step: int,
    weights: Mapping[str, Tensor],
    training: Mapping[str, Any],
    meta: Mapping[str, Any],
    before: Mapping[str, str],
) -> str:
    """Write the files of a checkpoint into an empty directory, and flush them to the disk.

    Args:
        directory: Where to write.
        step: Completed steps.
        weights: The model's state dict.
        training: Tensors, numbers, strings, and lists and dicts of them.
        meta: Metadata, as JSON values.
        before: Seals of the run's earlier checkpoints, by name.

    Returns:
        The seal.

    Raises:
        OSError, SafetensorError, RuntimeError: If a file cannot be written.
    """
    files = {
        WEIGHTS: _write(directory / WEIGHTS, lambda path: _save_weights(weights, path)),
        TRAINING: _write(directory / TRAINING, lambda path: _save_training(training, path)),
    }
    content = {"step": step, "files": files, "meta": dict(meta), "before": dict(before)}
    plain, seal = _sealed(content)
    _write(directory / META, lambda path: path.write_text(plain, encoding="utf-8"))
    flush(directory)
    return seal


def read_meta(path: Path) -> dict[str, Any]:
    """Return the verified metadata, with its checksum as "seal".

    Raises:
        DamagedError: If the file is missing, truncated, or none of a checkpoint.
        UserError: If it exists but cannot be read.
    """
    try:
        sealed = json.loads(path.read_bytes())
        content, seal = sealed["content"], sealed["sha256"]
        found = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    except OSError as error:
        raise unreadable(path, error) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedError(f"{path}: is truncated or not the metadata of a checkpoint") from error
    if found != seal:
        raise DamagedError(f"{path}: does not match its own checksum")
    if not _is_metadata(content):
        raise DamagedError(f"{path}: is not the metadata of a checkpoint")
    return {**content, "seal": seal}


def unreadable(path: Path, error: OSError) -> UserError:
    """Return the error for a failed read: a missing file is damage, an unreadable one may still be valid."""
    kind = DamagedError if isinstance(error, MISSING) else UserError
    return kind(f"{path}: cannot be read: {error.strerror}")


def _save_weights(weights: Mapping[str, Tensor], path: Path) -> None:
    save_tensors(path, {name: value.detach().cpu().contiguous() for name, value in weights.items()}, {"format": "pt"})


def _save_training(training: Mapping[str, Any], path: Path) -> None:
    # Given a path, torch.save hides the operating system's error.
    with path.open("wb") as file:
        torch.save(dict(training), file)


def _write(path: Path, write: Callable[[Path], object]) -> dict[str, Any]:
    """Write a file, flush it to the disk, and return its size and checksum."""
    write(path)
    flush(path)
    return {"size": path.stat().st_size, "sha256": sha256_of(path)}


def _sealed(content: Mapping[str, Any]) -> tuple[str, str]:
    """Return JSON text that contains its own checksum, and the checksum."""
    plain = json.dumps(content, sort_keys=True, allow_nan=False)
    seal = hashlib.sha256(plain.encode()).hexdigest()
    return json.dumps({"content": json.loads(plain), "sha256": seal}, indent=1), seal


def _is_metadata(content: Any) -> bool:
    """Whether JSON has what :func:`write_checkpoint` writes, whose checksum another program can compute, too."""
    if not isinstance(content, dict) or not isinstance(content.get("step"), int):
        return False
    files, before = content.get("files"), content.get("before")
    return (
        isinstance(content.get("meta"), dict)
        and (before is None or isinstance(before, dict))
        and isinstance(files, dict)
        and {WEIGHTS, TRAINING} <= files.keys()
        and all(isinstance(promised, dict) and {"size", "sha256"} <= promised.keys() for promised in files.values())
    )


@contextmanager
def _weights_readable(directory: Path) -> Iterator[None]:
    """Within this context, a file of weights that safetensors refuses is a :class:`DamagedError`."""
    try:
        yield
    except SafetensorError as error:
        raise DamagedError(f"{directory / WEIGHTS}: is not a safetensors file ({first_line(error)})") from error


def _check_file(path: Path, promised: Mapping[str, Any]) -> None:
    try:
        size = path.stat().st_size
        if size != promised["size"]:
            raise DamagedError(f"{path}: has {size} bytes, expected {promised['size']}")
        if sha256_of(path) != promised["sha256"]:
            raise DamagedError(f"{path}: differs from its checksum")
    except OSError as error:
        raise unreadable(path, error) from error
