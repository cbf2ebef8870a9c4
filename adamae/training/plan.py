"""How long a run is, when it logs and saves, and where in it a checkpoint stands."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
        ahead: Updates that the run has done beyond its place in the schedule, because it once went on with larger
            steps; below 0 after smaller ones. Updates are counted on, and epochs too.
        videos_per_step: Videos in an update.

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
    ahead: int = 0
    videos_per_step: int = 1

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
        last = self.scheduled_steps + self.ahead
        return min(last, self.max_steps or last)

    def place(self, step: int) -> int:
        """Where in the schedule ``step`` completed updates lead: the updates that a run of such steps has then done."""
        return step - self.ahead

    def epochs_at(self, step: int) -> float:
        """Epochs that ``step`` completed updates have brought."""
        return self.place(step) / self.steps_per_epoch

    def ends_epoch(self, step: int) -> bool:
        """Whether ``step`` completed updates make whole epochs."""
        return self.place(step) % self.steps_per_epoch == 0

    def logs(self, step: int) -> bool:
        """Whether a line is due after ``step`` completed updates."""
        return step % self.log_every == 0 or step == self.last_step

    def saves(self, step: int) -> bool:
        """Whether a checkpoint is due after ``step`` completed updates."""
        by_step = self.save_every_steps and step % self.save_every_steps == 0
        by_epoch = self.save_every_epochs and self.place(step) % (self.save_every_epochs * self.steps_per_epoch) == 0
        return bool(by_step or by_epoch or step == self.last_step)


@dataclass(frozen=True)
class Place:
    """Where a checkpoint stands in the run that wrote it.

    Attributes:
        step: Completed updates.
        epochs: Epochs that they have brought.
        steps_per_epoch: Updates in an epoch then.
        videos_per_step: Videos in an update then.
    """

    step: int
    epochs: float
    steps_per_epoch: int
    videos_per_step: int

    @property
    def _whole_and_part(self) -> tuple[int, int]:
        """Whole epochs, and updates of the unfinished one."""
        return divmod(round(self.epochs * self.steps_per_epoch), self.steps_per_epoch)

    @property
    def whole_epochs(self) -> int:
        """Epochs that are over: the number of the unfinished one, counted from 0."""
        return self._whole_and_part[0]

    @property
    def videos_of_epoch(self) -> int:
        """Videos of the unfinished epoch that have been seen."""
        return self._whole_and_part[1] * self.videos_per_step

    @property
    def steps_to_epochs_end(self) -> int:
        """Updates that the epoch still had."""
        return self.steps_per_epoch - self._whole_and_part[1]

    def found_in(self, plan: Plan) -> Plan | None:
        """The plan as it goes on from here: as many epochs are over, and as many videos of the next one.

        An epoch visits its videos in the same order however many make an update, so none is seen twice or left out.

        Args:
            plan: Of the run that goes on.

        Returns:
            None where the videos seen are no whole number of its updates.
        """
        steps, rest = divmod(self.videos_of_epoch, plan.videos_per_step)
        if rest:
            return None
        place = self.whole_epochs * plan.steps_per_epoch + min(steps, plan.steps_per_epoch)
        return replace(plan, ahead=self.step - place)
