"""Length of a run, its logging and saving intervals, and the position of a checkpoint in it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from adamae.errors import UserError


@dataclass(frozen=True)
class Plan:
    """Length of a run and its logging and saving intervals.

    Attributes:
        epochs: Passes over the list.
        steps_per_epoch: Updates in an epoch.
        max_steps: Stop after this many updates; 0 for no limit.
        log_every: Updates between lines of the log.
        save_every_epochs: Epochs between checkpoints; 0 to save only at the end.
        save_every_steps: Updates between checkpoints; 0 for none.
        seed: Seed of the run.
        step_offset: Completed updates minus the step of the schedule. It is positive if the run was resumed with more
            videos per update, negative if with fewer: the counts of updates and of epochs both continue.
        videos_per_step: Videos in an update.

    Raises:
        UserError: If a number is out of range.
    """

    epochs: int
    steps_per_epoch: int
    max_steps: int = 0
    log_every: int = 10
    save_every_epochs: int = 0
    save_every_steps: int = 0
    seed: int = 0
    step_offset: int = 0
    videos_per_step: int = 1

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("steps_per_epoch", 1), ("max_steps", 0), ("log_every", 1)):
            if getattr(self, name) < least:
                raise UserError(f"{name} = {getattr(self, name)}: expected at least {least}")

    @property
    def scheduled_steps(self) -> int:
        """Updates in all epochs, the length of the schedules."""
        return self.epochs * self.steps_per_epoch

    @property
    def last_step(self) -> int:
        """Updates after which the run ends."""
        last = self.scheduled_steps + self.step_offset
        return min(last, self.max_steps or last)

    def schedule_step(self, step: int) -> int:
        """Return the step of the schedule after ``step`` completed updates, in updates of the present size."""
        return step - self.step_offset

    def epochs_at(self, step: int) -> float:
        """Return the epochs that ``step`` completed updates amount to."""
        return self.schedule_step(step) / self.steps_per_epoch

    def ends_epoch(self, step: int) -> bool:
        """Return whether an epoch ends after ``step`` completed updates."""
        return self.schedule_step(step) % self.steps_per_epoch == 0

    def logs(self, step: int) -> bool:
        """Return whether a log line is due after ``step`` completed updates."""
        return step % self.log_every == 0 or step == self.last_step

    def cuts_interval(self, step: int) -> bool:
        """Return whether ``max_steps`` ends the run after ``step`` updates, between two lines of the log."""
        return step == self.last_step < self.scheduled_steps + self.step_offset and step % self.log_every != 0

    def saves(self, step: int) -> bool:
        """Return whether a checkpoint is due after ``step`` completed updates."""
        by_step = self.save_every_steps and step % self.save_every_steps == 0
        by_epoch = (
            self.save_every_epochs and self.schedule_step(step) % (self.save_every_epochs * self.steps_per_epoch) == 0
        )
        return bool(by_step or by_epoch or step == self.last_step)


@dataclass(frozen=True)
class CheckpointPosition:
    """Position of a checkpoint in the run that wrote it.

    Attributes:
        step: Completed updates.
        epochs: Epochs that they amount to.
        steps_per_epoch: Updates in an epoch of that run.
        videos_per_step: Videos in an update of that run.
    """

    step: int
    epochs: float
    steps_per_epoch: int
    videos_per_step: int

    @property
    def _whole_and_part(self) -> tuple[int, int]:
        """Completed epochs, and updates of the unfinished one."""
        return divmod(round(self.epochs * self.steps_per_epoch), self.steps_per_epoch)

    @property
    def whole_epochs(self) -> int:
        """Completed epochs, which is the zero-based number of the unfinished one."""
        return self._whole_and_part[0]

    @property
    def videos_of_epoch(self) -> int:
        """Videos of the unfinished epoch that were already used."""
        return self._whole_and_part[1] * self.videos_per_step

    @property
    def steps_to_epochs_end(self) -> int:
        """Updates left in the unfinished epoch."""
        return self.steps_per_epoch - self._whole_and_part[1]

    def resumed_plan(self, plan: Plan) -> Plan | None:
        """Return the plan resumed from here: after as many epochs, and as many videos of the next one.

        The order of the videos in an epoch does not depend on the videos per update, so none is repeated or left out.

        Args:
            plan: Plan of the resumed run.

        Returns:
            The plan, or None if the videos already used are not a multiple of its videos per update.
        """
        steps, rest = divmod(self.videos_of_epoch, plan.videos_per_step)
        if rest:
            return None
        schedule_step = self.whole_epochs * plan.steps_per_epoch + min(steps, plan.steps_per_epoch)
        return replace(plan, step_offset=self.step - schedule_step)
