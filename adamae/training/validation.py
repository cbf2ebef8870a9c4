"""Validation during a run, and saving of the best weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from adamae.training.best_weights import BestWeights
from adamae.training.ema import WeightEma

# Metrics of one validation by name, the same on all ranks.
Metrics = Mapping[str, float]

# The metric that the best weights maximise.
_DECISIVE = "val_top1"


class Validation:
    """Validates after each epoch and keeps the best weights; a :class:`~adamae.training.loop.Callback` of a run.

    With an EMA of the weights, the EMA is validated and kept. If two epochs are equal, the earlier one is kept. An
    incomplete epoch is not validated, because the result of a run must not depend on where it was interrupted.

    Args:
        measure: Scores the current model. All ranks call it and get the same numbers. None: no validation.
        best_weights: Keeps the best weights. Those of an earlier run in the same folder, which may still be resumed
            until then, are removed when a checkpoint is written before any were kept.
        ema: EMA whose weights are validated.
        resumed_from_other_run: Whether the run resumes from a checkpoint of another run. The best weights of that run
            are in its own folder, so its best result is not taken over.

    Attributes:
        best: Step and metrics of the best validation so far; empty before the first.
    """

    def __init__(
        self,
        measure: Callable[[], Metrics] | None,
        best_weights: BestWeights,
        ema: WeightEma,
        resumed_from_other_run: bool = False,
    ) -> None:
        self._measure = measure
        self._best_weights = best_weights
        self._ema = ema
        self._resumed_from_other_run = resumed_from_other_run
        self._step = 0
        self.best: dict[str, float] = {}

    def after_step(self, step: int) -> None:
        """Record the number of completed steps."""
        self._step = step

    def after_epoch(self, epoch: int) -> Mapping[str, float]:
        """Validate and return the metrics, with the best so far, for the epoch's line of the log."""
        if self._measure is None:
            return {}
        with self._ema.applied():
            metrics = dict(self._measure())
            if not self.best or metrics[_DECISIVE] > self.best[_DECISIVE]:
                self.best = {"step": self._step, **metrics}
                self._best_weights.keep(self._step, metrics)
        return {**metrics, f"best_{_DECISIVE}": self.best[_DECISIVE]}

    def state(self) -> dict[str, Any]:
        """Return the state for :meth:`load`."""
        if not self.best:
            self._best_weights.discard()
        return {"best": dict(self.best), "step": self._step}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore the best result and the step."""
        self.best = {} if self._resumed_from_other_run else dict(state.get("best", {}))
        self._step = state.get("step", 0)
