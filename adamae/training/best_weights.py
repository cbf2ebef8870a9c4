"""The checkpoint with the best validation result."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from adamae.checkpoints.store import CheckpointStore
from adamae.distributed import World
from adamae.errors import UserError
from adamae.training.plan import Plan


class BestWeights:
    """The checkpoint with the best validation result.

    Args:
        directory: Folder of the checkpoint.
        model: The model to train.
        description: Entries of its ``meta.json``.
        plan: Plan of the run.
        world: The processes of the run; the main one writes.
    """

    def __init__(
        self, directory: Path, model: nn.Module, description: Mapping[str, Any], plan: Plan, world: World
    ) -> None:
        self._store = CheckpointStore(directory, keep_last=1)
        self._model = model
        self._description = description
        self._plan = plan
        self._world = world

    def keep(self, step: int, metrics: Mapping[str, float]) -> None:
        """Save the current model in place of the previous best."""
        meta = {"epoch": self._plan.epochs_at(step), "validation": dict(metrics), **self._description}
        self._world.on_main(lambda: self._store.save(step, self._model.state_dict(), {}, meta))

    def discard(self) -> None:
        """Remove the best checkpoint of an earlier run. Called on the main process.

        Raises:
            UserError: If it cannot be removed.
        """
        try:
            shutil.rmtree(self._store.directory)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise UserError(f"{self._store.directory}: cannot be removed: {error.strerror or error}") from error

    def load_into_model(self) -> str:
        """Load the weights into the model and describe their origin.

        Raises:
            UserError: If the checkpoint is missing.
        """
        found = self._world.on_main(self._store.newest)
        if found is None:
            raise UserError(f"{self._store.directory}: the best checkpoint is missing; --resume none starts a new run")
        self._model.load_state_dict(found.weights())
        return f"{found.directory}, best in validation with {found.meta['validation']['val_top1']:.2f} %"
