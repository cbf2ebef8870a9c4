"""The checkpoints with the best validation results."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from adamae.checkpoints.run_checkpoint import Checkpoint, DamagedError
from adamae.checkpoints.store import CheckpointStore
from adamae.distributed import World
from adamae.errors import UserError
from adamae.progress import say
from adamae.training.plan import Plan


class BestWeights:
    """The checkpoint with the best validation result, and those that the run's own checkpoints name.

    A run that is killed goes back to its last checkpoint, whose best must then still be there. So the best weights are
    removed only after the run has saved checkpoints that name later ones.

    Args:
        directory: Folder of the checkpoints; its ``latest`` names the best.
        model: The model to train.
        description: Entries of its ``meta.json``.
        plan: Plan of the run.
        world: The processes of the run; the main one writes.
        keep_last: Number of newest checkpoints that the run keeps.
    """

    def __init__(
        self,
        directory: Path,
        model: nn.Module,
        description: Mapping[str, Any],
        plan: Plan,
        world: World,
        keep_last: int = 1,
    ) -> None:
        self._store = CheckpointStore(directory, keep_last=keep_last + 1)
        self._model = model
        self._description = description
        self._plan = plan
        self._world = world
        # Step of the best weights that the run's newest checkpoint names.
        self._recorded = 0

    def keep(self, step: int, metrics: Mapping[str, float]) -> None:
        """Save the current model as the best; the previous best is removed if no checkpoint of the run names it."""
        meta = {"epoch": self._plan.epochs_at(step), "validation": dict(metrics), **self._description}
        self._world.on_main(lambda: self._keep(step, meta))

    def _keep(self, step: int, meta: Mapping[str, Any]) -> None:
        self._store.forget_after(self._recorded)
        self._store.save(step, self._model.state_dict(), {}, meta)

    def record(self, step: int) -> None:
        """Note that a checkpoint of the run is being saved that names the best weights of ``step``.

        Called on the main process. If saving fails, the run ends, so the next :meth:`keep` comes after it.
        """
        self._recorded = step

    def take_back(self, best: Mapping[str, Any]) -> bool:
        """Let the best weights be those again that a checkpoint of the run names. All ranks call it.

        Args:
            best: Step and metrics of the validation.

        Returns:
            Whether they are there.

        Raises:
            UserError: If the files cannot be read or written.
        """
        return self._world.on_main(lambda: self._take_back(best))

    def _take_back(self, best: Mapping[str, Any]) -> bool:
        self._recorded = best["step"]
        try:
            self._store.take_back(self._open(best))
        except DamagedError as error:
            say(f"note: the best weights so far are missing, those of the next validation will be kept: {error}")
            return False
        return True

    def discard(self) -> None:
        """Remove the best checkpoints of an earlier run. Called on the main process.

        Raises:
            UserError: If it cannot be removed.
        """
        try:
            shutil.rmtree(self._store.directory)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise UserError(f"{self._store.directory}: cannot be removed: {error.strerror or error}") from error

    def load_into_model(self, best: Mapping[str, Any]) -> str:
        """Load the best weights into the model and describe their origin. All ranks call it.

        Args:
            best: Step and metrics of their validation.

        Raises:
            UserError: If the checkpoint is missing, or cannot be read.
        """
        try:
            found = self._world.on_main(lambda: self._open(best))
        except DamagedError as error:
            raise UserError(f"the best weights are missing: {error}; --resume none starts a new run") from error
        self._model.load_state_dict(found.weights())
        return f"{found.directory}, best in validation with {found.meta['validation']['val_top1']:.2f} %"

    def _open(self, best: Mapping[str, Any]) -> Checkpoint:
        found = self._store.at(best["step"])
        # A run that went back to an earlier checkpoint may have kept this step again.
        if {"step": found.step, **found.meta["validation"]} != best:
            raise DamagedError(f"{found.directory}: is of another validation")
        return found
