"""What several options of a training run say together, whatever is trained."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from adamae.errors import UserError
from adamae.options.groups import DataOptions, LogOptions, OptimizerOptions, RunOptions
from adamae.options.parser import Parsed
from adamae.options.record import differences, flatten

Options = TypeVar("Options", bound="TrainingOptions")


class TrainingOptions:
    """Base of the commands that train: a dataclass of option groups, among them these four."""

    # Name of the command that these options belong to.
    command = ""

    data: DataOptions
    optimizer: OptimizerOptions
    run: RunOptions
    log: LogOptions

    def check_complete(self) -> None:
        """Make sure that what has no default was given, and that what is named is there.

        Raises:
            UserError: If there is no ``data_path`` or no ``output_dir``, or no such ``deepspeed_config``; the last also
                where one process does without it: the same line on several will not.
        """
        _ = self.data.source, self.run.output, self.run.deepspeed_file

    @property
    def clips_per_video(self) -> int:
        """Clips of one video that count in a step. Fine-tuning counts its videos, as the published code does."""
        return 1

    @property
    def clips_per_pass(self) -> int:
        """Clips that one process looks at in one forward pass, as far as they count in a step."""
        return self.data.batch_size * self.clips_per_video

    @property
    def passes(self) -> int:
        """Forward passes that make one step; right for a total batch only after :meth:`for_processes`."""
        return self.optimizer.update_freq or 1

    def clips_per_step(self, world_size: int) -> int:
        """Clips that make one step, over all processes."""
        given = self.optimizer.total_batch_size
        return self.clips_per_pass * world_size * self.passes if given is None else given

    def for_processes(self: Options, world_size: int) -> Options:
        """The same with both ``update_freq`` and ``total_batch_size`` as this many processes need them.

        Raises:
            UserError: If the total does not divide, or contradicts an ``update_freq`` that was given.
        """
        total, batch = self.clips_per_step(world_size), self.clips_per_pass * world_size
        if total % batch:
            repeats = f" times --num_sample {self.clips_per_video}" if self.clips_per_video > 1 else ""
            raise UserError(
                f"--total_batch_size {total}: expected a multiple of {batch}, which is --batch_size "
                f"{self.data.batch_size}{repeats} times {world_size} processes{self._smaller_batch(total, world_size)}"
            )
        update_freq = total // batch
        # 1 is also what launch lines say that leave it to the total.
        if self.optimizer.update_freq not in (None, 1, update_freq):
            raise UserError(
                f"--update_freq {self.optimizer.update_freq} with --total_batch_size {total}: "
                f"expected {update_freq}, or only one of the two"
            )
        optimizer = replace(self.optimizer, update_freq=update_freq, total_batch_size=total)
        changed: Any = {"optimizer": optimizer}
        return replace(self, **changed)  # type: ignore[type-var]

    def _smaller_batch(self, total: int, world_size: int) -> str:
        """The largest batch size below the given one that the total is a multiple of, as a hint."""
        fitting = (
            size
            for size in range(self.data.batch_size - 1, 0, -1)
            if total % (size * self.clips_per_video * world_size) == 0
        )
        return next((f"; --batch_size {size} fits" for size in fitting), "")

    def for_any_processes(self: Options, resume: str = "auto") -> Options:
        """What a run records of :meth:`for_processes`: its clips per step, and passes left to whoever repeats it.

        Args:
            resume: What ``--resume`` must be to repeat the run.
        """
        changed: Any = {
            "optimizer": replace(self.optimizer, update_freq=None),
            "run": replace(self.run, resume=resume),
        }
        return replace(self, **changed)  # type: ignore[type-var]

    def arguments(self) -> dict[str, Any]:
        """All options by name, as checkpoints carry them."""
        return flatten(self)

    @property
    def warmup_epochs(self) -> float:
        """Epochs of warm-up: a twentieth of all where none are given, as in the published 40 of 800."""
        given = self.optimizer.warmup_epochs
        return self.optimizer.epochs / 20 if given is None else given


def departures(parsed: Parsed[Options], world_size: int) -> str:
    """Where a run departs from its recipe. Of the three batch sizes only their product is part of one."""
    assert parsed.recipe is not None
    recipe, options = (
        flatten(each, only_what_changes_the_result=True) | {"total_batch_size": each.clips_per_step(world_size)}
        for each in (parsed.recipe, parsed.options)
    )
    changed = differences(recipe, options)
    return f"differs from its recipe in {', '.join(changed)}" if changed else "follows its recipe"
