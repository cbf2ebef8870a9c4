"""Validation during a run, and the best weights that it has seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from adamae.training.averaging import WeightAverage

# Named numbers of one validation, all ranks alike.
Figures = Mapping[str, float]


class Validation:
    """Validates at the end of each epoch and keeps the best; a :class:`~adamae.training.loop.Callback` of a run.

    With a moving average of the weights it is the average that is validated and kept. Of two equal epochs the earlier
    one is the better. What happens to a run must not depend on where it paused, so a part of an epoch is not validated.

    Args:
        measure: Scores the model as it is now. All ranks call it and get the same numbers. None: nothing is validated.
        keep: Called with (step, figures) while the model holds the best weights so far.
        discard: Called on the main rank when a checkpoint is written before anything was kept: what an earlier run in
            the same folder kept is not this run's, and until then that run may still be resumed.
        average: Its weights are validated.
        elsewhere: Whether the run resumes from a checkpoint of another one: the best weights of that one lie in its own
            folder, so the best so far is not taken over.
        figure: Name of the number that decides; the larger, the better.

    Attributes:
        best: Step and figures of the best validation so far; empty before the first.
    """

    def __init__(
        self,
        measure: Callable[[], Figures] | None,
        keep: Callable[[int, Figures], None],
        discard: Callable[[], None],
        average: WeightAverage,
        elsewhere: bool = False,
        figure: str = "val_top1",
    ) -> None:
        self._measure = measure
        self._keep = keep
        self._discard = discard
        self._average = average
        self._elsewhere = elsewhere
        self._figure = figure
        self._step = 0
        self.best: dict[str, float] = {}

    def after_step(self, step: int) -> None:
        """Remember where the run stands."""
        self._step = step

    def after_epoch(self, epoch: int) -> Mapping[str, float]:
        """Validate; the figures go into the epoch's line of the log, with the best one so far."""
        if self._measure is None:
            return {}
        with self._average.applied():
            figures = dict(self._measure())
            if not self.best or figures[self._figure] > self.best[self._figure]:
                self.best = {"step": self._step, **figures}
                self._keep(self._step, figures)
        return {**figures, f"best_{self._figure}": self.best[self._figure]}

    def state(self) -> dict[str, Any]:
        """What :meth:`load` takes."""
        if not self.best:
            self._discard()
        return {"best": dict(self.best), "step": self._step}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on with the best so far, at the saved step."""
        self.best = {} if self._elsewhere else dict(state.get("best", {}))
        self._step = state.get("step", 0)
