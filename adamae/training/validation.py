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
        best: Step and metrics of the best validation so far; empty before the first. After a resume that did not find
            its weights, the next validation counts as the best.
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
        self.best: dict[str, Any] = {}
        self._lost = False

    def after_step(self, step: int) -> None:
        """Record the number of completed steps."""
        self._step = step

    def after_epoch(self, epoch: int) -> Mapping[str, float]:
        """Validate and return the metrics, with the best so far, for the epoch's line of the log."""
        if self._measure is None:
            return {}
        with self._ema.applied():
            metrics = dict(self._measure())
            if not self.best or self._lost or metrics[_DECISIVE] > self.best[_DECISIVE]:
                self.best, self._lost = {"step": self._step, **metrics}, False
                self._best_weights.keep(self._step, metrics)
        return {**metrics, f"best_{_DECISIVE}": self.best[_DECISIVE]}

    def state(self) -> dict[str, Any]:
        """Return the state for :meth:`load`."""
        if self.best:
            self._best_weights.record(self.best["step"])
        else:
            self._best_weights.discard()
        return {"best": dict(self.best), "step": self._step}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore the best result and the step, and go back to the best weights that the run had then."""
        self.best = {} if self._resumed_from_other_run else dict(state.get("best", {}))
        self._step = state.get("step", 0)
        if self.best:
            self._lost = not self._best_weights.take_back(self.best)
