"""How long a run is, and when it logs and saves."""

from __future__ import annotations

from dataclasses import dataclass

from adamae.errors import UserError


@dataclass(frozen=True)
class Plan:
    """How long a run is and when it logs and saves.

    Attributes:
        epochs: Passes over the list.
        steps_per_epoch: Updates in each.
        max_steps: End after this many updates even so; 0 for no such limit.
        log_every: Updates between lines of the log.
        save_every_epochs: Epochs between checkpoints; 0 for none but the last.
        save_every_steps: Updates between checkpoints; 0 for none.
        seed: Of the run.

    Raises:
        UserError: If a number makes no run.
    """

    epochs: int
    steps_per_epoch: int
    max_steps: int = 0
    log_every: int = 10
    save_every_epochs: int = 0
    save_every_steps: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("steps_per_epoch", 1), ("max_steps", 0), ("log_every", 1)):
            if getattr(self, name) < least:
                raise UserError(f"{name} = {getattr(self, name)}: expected at least {least}")

    @property
    def scheduled_steps(self) -> int:
        """Updates of all epochs, which schedules are made for."""
        return self.epochs * self.steps_per_epoch

    @property
    def last_step(self) -> int:
        """Updates after which the run ends."""
        return min(self.scheduled_steps, self.max_steps or self.scheduled_steps)

    def ends_epoch(self, step: int) -> bool:
        """Whether ``step`` completed updates make whole epochs."""
        return step % self.steps_per_epoch == 0

    def logs(self, step: int) -> bool:
        """Whether a line is due after ``step`` completed updates."""
        return step % self.log_every == 0 or step == self.last_step

    def saves(self, step: int) -> bool:
        """Whether a checkpoint is due after ``step`` completed updates."""
        by_step = self.save_every_steps and step % self.save_every_steps == 0
        by_epoch = self.save_every_epochs and step % (self.save_every_epochs * self.steps_per_epoch) == 0
        return bool(by_step or by_epoch or step == self.last_step)
