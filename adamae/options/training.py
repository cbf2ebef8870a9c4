"""Options that pre-training and fine-tuning share, and values derived from several of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from adamae.errors import UserError
from adamae.options.groups import DataOptions, LogOptions, OptimizerOptions, RunOptions
from adamae.options.parser import Parsed
from adamae.options.record import differences, flatten

Options = TypeVar("Options", bound="TrainingOptions")


class TrainingOptions:
    """Base class of the training commands' options: a dataclass of option groups, including these four."""

    # Name of the command.
    command = ""

    data: DataOptions
    optimizer: OptimizerOptions
    run: RunOptions
    log: LogOptions

    def check_complete(self) -> None:
        """Check that required options are given and that the files they name exist.

        Raises:
            UserError: If ``data_path`` or ``output_dir`` is missing, or ``deepspeed_config`` does not exist. A single
                process does not need the latter, but it is checked, too, because several processes would fail with the
                same options.
        """
        _ = self.data.source, self.run.output, self.run.deepspeed_file

    @property
    def clips_per_video(self) -> int:
        """Clips of one video that count in a step. Fine-tuning counts videos, as in the official code."""
        return 1

    @property
    def clips_per_micro_batch(self) -> int:
        """Clips of one micro-batch of a process, as far as they count in a step."""
        return self.data.batch_size * self.clips_per_video

    @property
    def accumulation(self) -> int:
        """Micro-batches in one step; correct with a total batch size only after :meth:`for_processes`."""
        return self.optimizer.update_freq or 1

    def clips_per_step(self, world_size: int) -> int:
        """Return the clips in one step, over all processes."""
        given = self.optimizer.total_batch_size
        return self.clips_per_micro_batch * world_size * self.accumulation if given is None else given

    def for_processes(self: Options, world_size: int) -> Options:
        """Return the options with ``update_freq`` and ``total_batch_size`` set for this number of processes.

        Raises:
            UserError: If the total is not divisible, or inconsistent with a given ``update_freq``.
        """
        total, batch = self.clips_per_step(world_size), self.clips_per_micro_batch * world_size
        if total % batch:
            repeats = f" times --num_sample {self.clips_per_video}" if self.clips_per_video > 1 else ""
            raise UserError(
                f"--total_batch_size {total}: expected a multiple of {batch}, which is --batch_size "
                f"{self.data.batch_size}{repeats} times {world_size} processes{self._smaller_batch(total, world_size)}"
            )
        update_freq = total // batch
        # Launch lines that rely on the total batch size may also contain 1.
        if self.optimizer.update_freq not in (None, 1, update_freq):
            raise UserError(
                f"--update_freq {self.optimizer.update_freq} with --total_batch_size {total}: "
                f"expected {update_freq}, or only one of the two"
            )
        optimizer = replace(self.optimizer, update_freq=update_freq, total_batch_size=total)
        changed: Any = {"optimizer": optimizer}
        return replace(self, **changed)  # type: ignore[type-var]

    def _smaller_batch(self, total: int, world_size: int) -> str:
        """Return a hint with the largest smaller batch size that divides the total."""
        fitting = (
            size
            for size in range(self.data.batch_size - 1, 0, -1)
            if total % (size * self.clips_per_video * world_size) == 0
        )
        return next((f"; --batch_size {size} fits" for size in fitting), "")

    def for_any_processes(self: Options, resume: str = "auto") -> Options:
        """Return the options that a run records: with its clips per step, but independent of the number of processes.

        Args:
            resume: Value of ``--resume`` that repeats the run.
        """
        changed: Any = {
            "optimizer": replace(self.optimizer, update_freq=None),
            "run": replace(self.run, resume=resume),
        }
        return replace(self, **changed)  # type: ignore[type-var]

    def arguments(self) -> dict[str, Any]:
        """Return all options by name, as stored in checkpoints."""
        return flatten(self)

    @property
    def warmup_epochs(self) -> float:
        """Epochs of warm-up; by default a twentieth of all epochs, as the official 40 of 800."""
        given = self.optimizer.warmup_epochs
        return self.optimizer.epochs / 20 if given is None else given


def departures(parsed: Parsed[Options], world_size: int) -> str:
    """Describe how a run differs from its recipe. Of the three batch sizes only their product belongs to a recipe."""
    assert parsed.recipe is not None
    recipe, options = (
        flatten(each, only_what_changes_the_result=True) | {"total_batch_size": each.clips_per_step(world_size)}
        for each in (parsed.recipe, parsed.options)
    )
    changed = differences(recipe, options)
    return f"differs from its recipe in {', '.join(changed)}" if changed else "follows its recipe"
