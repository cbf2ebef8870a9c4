"""The checkpoints of a run, replaced atomically.

    OUT/checkpoints/step-00000120/    a checkpoint, see ``run_checkpoint``
    OUT/checkpoints/latest            name of the newest checkpoint

A checkpoint is written under a temporary name, flushed to the disk and renamed; only then ``latest`` is updated. A
reader skips a corrupt checkpoint in favour of the previous one of the same run. Checkpoints of a run that was restarted
or resumed from an earlier step may lie in the same directory. If all checkpoints are corrupt, or one cannot be read,
that is an error: a new run must be requested explicitly.
"""

from __future__ import annotations

import os
import re
import shutil
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor

from adamae.checkpoints.run_checkpoint import (
    META,
    MISSING,
    Checkpoint,
    DamagedError,
    read_meta,
    unreadable,
    write_checkpoint,
)
from adamae.errors import UserError
from adamae.files import TEMPORARY_PREFIX, flush, write_whole

LATEST = "latest"
_NAME = re.compile(r"step-(\d{8,})")
# Prefix of a checkpoint that is being replaced.
_REPLACED = f"{TEMPORARY_PREFIX}replaced-"
# Matches any seal, for checkpoints whose metadata does not list the seals.
_ANY = ""


class CheckpointStore:
    """The checkpoints of one run. One process writes; the others should wait for it.

    Args:
        directory: Directory of the checkpoints; created when the first one is written.
        keep_last: Number of newest checkpoints to keep, at least 1.

    Raises:
        UserError: If ``keep_last`` is below 1.
    """

    def __init__(self, directory: str | Path, *, keep_last: int = 2) -> None:
        if keep_last < 1:
            raise UserError(f"keep_last = {keep_last}: expected at least 1 checkpoint to keep")
        self.directory = Path(directory)
        self._keep_last = keep_last
        # Seals of this run's checkpoints, by name.
        self._own: dict[str, str] = {}

    def begin(self, resume: Checkpoint | None) -> Checkpoint | None:
        """Clean up and record which checkpoints belong to the run. Call on one process only.

        Args:
            resume: Checkpoint to resume from, of this store or another; None for a new run.

        Returns:
            ``resume`` with its current directory, which changes if cleaning up moved it back into place.
        """
        self.clean()
        if resume is None or not self.holds(resume):
            self._own = {}
            return resume
        before = resume.before
        if before is None:
            before = {path.name: _ANY for step, path in self._steps().items() if step < resume.step}
        self._own = {**before, _name(resume.step): resume.seal}
        put_back = not resume.directory.exists()
        return replace(resume, directory=self.directory / _name(resume.step)) if put_back else resume

    def take_back(self, checkpoint: Checkpoint) -> None:
        """Begin at a checkpoint of this store, and let ``latest`` name it. Call on one process only.

        Raises:
            UserError: If ``latest`` cannot be written.
        """
        self.begin(checkpoint)
        name = _name(checkpoint.step)
        if _read_pointer(self.directory / LATEST) == name:
            return
        try:
            self._point_to(name)
        except OSError as error:
            raise UserError(f"{self.directory / LATEST}: cannot be written: {error.strerror}") from error

    def forget_after(self, step: int) -> None:
        """Leave the checkpoints after ``step`` out of the run: the next :meth:`save` removes them."""
        self._own = self._own_until(step)

    def at(self, step: int) -> Checkpoint:
        """Return the valid checkpoint of a step.

        Raises:
            DamagedError: If it is missing or corrupt.
            UserError: If it exists but cannot be read.
        """
        return Checkpoint.open(self._steps().get(step, self.directory / _name(step)))

    def holds(self, checkpoint: Checkpoint) -> bool:
        """Return whether a checkpoint lies in this store."""
        return checkpoint.directory.resolve().parent == self.directory.resolve()

    def clean(self) -> None:
        """Remove unfinished files of a killed process, and restore a checkpoint that it did not finish replacing."""
        for leftover in self.directory.glob(TEMPORARY_PREFIX + "*"):
            own = self.directory / leftover.name.removeprefix(_REPLACED)
            if _NAME.fullmatch(own.name) and not own.exists():
                with suppress(OSError):
                    leftover.rename(own)
            elif leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                with suppress(OSError):
                    leftover.unlink()

    def save(
        self, step: int, weights: Mapping[str, Tensor], training: Mapping[str, Any], meta: Mapping[str, Any]
    ) -> Path:
        """Write a checkpoint, then remove all earlier ones except the newest ``keep_last`` of this run.

        Args:
            step: Completed steps.
            weights: The model's state dict.
            training: Tensors, numbers, strings, and lists and dicts of them.
            meta: Metadata, as JSON values.

        Returns:
            The checkpoint's directory.

        Raises:
            UserError: If it cannot be written. Older checkpoints are then unchanged.
        """
        final = self.directory / _name(step)
        before = self._own_until(step - 1)
        temporary = self.directory / f"{TEMPORARY_PREFIX}{final.name}"
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            seal = write_checkpoint(temporary, step, weights, training, meta, before)
            self._publish(temporary, final)
        except (OSError, SafetensorError, RuntimeError) as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise UserError(f"{final}: the checkpoint could not be written: {_reason(error)}") from error
        self._own = {**before, final.name: seal}
        self._prune(step)
        return final

    def find(self, resume: str) -> Checkpoint | None:
        """Return the checkpoint to resume from, or None for a new run.

        Args:
            resume: "auto" for the newest valid checkpoint of this store, "none" for a new run, or the path of a
                checkpoint or of another run's output.

        Raises:
            UserError: If there are checkpoints but none is valid, the path contains none, or one cannot be read.
        """
        if resume == "none":
            return None
        if resume == "auto":
            try:
                return self.newest()
            except DamagedError as error:
                raise DamagedError(f"{error}; --resume none starts a new run and overwrites the log") from error
        path = Path(resume)
        # Path.exists() raises for a directory without search permission.
        if os.path.exists(path / META):  # noqa: PTH110
            return Checkpoint.open(path)
        found = CheckpointStore(path / "checkpoints").newest() or CheckpointStore(path).newest()
        if found is None:
            raise UserError(
                f"--resume {resume}: no valid checkpoint found; expected auto, none, a checkpoint or a run's output"
            )
        return found

    def newest(self) -> Checkpoint | None:
        """Return the newest valid checkpoint, or None if none was ever written. Skips corrupt ones with a warning.

        Checkpoints of another run than that of the newest one are skipped without a warning.

        Raises:
            DamagedError: If all of them are corrupt or missing.
            UserError: If one exists but cannot be read.
        """
        damages: list[DamagedError] = []
        of_the_run: Mapping[str, str] | None = None
        for directory in self._candidates():
            try:
                content = read_meta(directory / META)
                if of_the_run is None:
                    of_the_run = content.get("before")
                elif of_the_run.get(_name(content["step"])) not in (_ANY, content["seal"]):
                    continue
                found = Checkpoint.of_meta(directory, content)
            except DamagedError as error:
                damages.append(error)
                continue
            for damage in damages:
                warnings.warn(f"skipping corrupt checkpoint: {damage}", stacklevel=2)
            return found
        if damages:
            raise DamagedError(f"{self.directory}: none of its {len(damages)} checkpoints is valid: {damages[0]}")
        return None

    def _candidates(self) -> list[Path]:
        """Directories from ``latest`` backwards, newest first; later ones belong to a run that was rolled back."""
        steps = self._steps()
        match = _NAME.fullmatch(_read_pointer(self.directory / LATEST))
        limit = int(match[1]) if match else max(steps, default=0)
        candidates = [steps[step] for step in sorted(steps, reverse=True) if step <= limit]
        # If latest names a missing checkpoint and there is no other, the error should name that one.
        return candidates or ([self.directory / match[0]] if match else [])

    def _steps(self) -> dict[int, Path]:
        try:
            with os.scandir(self.directory) as entries:
                names = [entry.name for entry in entries if entry.is_dir()]
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            raise unreadable(self.directory, error) from error
        # A checkpoint that was being replaced counts if its replacement does not exist.
        names.sort(key=lambda name: not name.startswith(_REPLACED))
        matches = ((_NAME.fullmatch(name.removeprefix(_REPLACED)), name) for name in names)
        return {int(match[1]): self.directory / name for match, name in matches if match}

    def _publish(self, temporary: Path, final: Path) -> None:
        replaced = self.directory / f"{_REPLACED}{final.name}"
        replaces = final.exists()
        if replaces:
            # A run that was rolled back to an earlier step writes this step again.
            shutil.rmtree(replaced, ignore_errors=True)
            final.rename(replaced)
        try:
            temporary.rename(final)
        except OSError:
            if replaces:
                replaced.rename(final)
            raise
        self._point_to(final.name)

    def _point_to(self, name: str) -> None:
        write_whole(self.directory / LATEST, f"{name}\n".encode())
        flush(self.directory)

    def _prune(self, newest: int) -> None:
        self.clean()
        kept = self._own_paths(newest)[-self._keep_last :]
        for step, path in self._steps().items():
            # Keep later checkpoints: the run may have been rolled back by mistake.
            if step > newest or path in kept:
                continue
            # Rename first, so that a reader never finds a partially removed checkpoint.
            doomed = self.directory / f"{TEMPORARY_PREFIX}removed-{path.name}"
            with suppress(OSError):
                path.rename(doomed)
            shutil.rmtree(doomed, ignore_errors=True)

    def _own_paths(self, newest: int) -> list[Path]:
        """Return this run's checkpoints up to a step, oldest first."""
        return [path for step, path in sorted(self._steps().items()) if step <= newest and path.name in self._own]

    def _own_until(self, newest: int) -> dict[str, str]:
        return {path.name: self._own[path.name] for path in self._own_paths(newest)}


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _read_pointer(path: Path) -> str:
    """Return the content of ``latest``; empty if it is missing or damaged."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        return ""
    except OSError as error:
        if isinstance(error, MISSING):
            return ""
        raise unreadable(path, error) from error


def _reason(error: BaseException) -> str:
    """Return why writing failed: the operating system's message if there is one, since torch's hides the cause."""
    root: BaseException | None = error
    while root is not None and not isinstance(root, OSError):
        root = root.__context__
    text = str(error) if root is None else root.strerror or str(root)
    return next(iter(text.splitlines()), type(error).__name__)
