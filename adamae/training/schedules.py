"""The steps of a run, and learning rate and weight decay as functions of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from adamae.data.loader import BatchKeys
from adamae.errors import UserError
from adamae.options.training import TrainingOptions
from adamae.plain_text import counted
from adamae.training.plan import Plan


@dataclass(frozen=True)
class CosineSchedule:
    """Linear warm-up from zero to ``base``, then half a cosine from ``base`` towards ``final``.

    As in the official code the warm-up includes its end, so ``base`` is used at the last step of the warm-up and at the
    first step of the cosine, and ``final`` is never reached.

    Attributes:
        base: Value at the peak.
        final: Value that the cosine approaches.
        total_steps: Steps of the run.
        warmup_steps: Steps of the warm-up.
    """

    base: float
    final: float
    total_steps: int
    warmup_steps: int = 0

    def __post_init__(self) -> None:
        """Check the sizes.

        Raises:
            UserError: If the warm-up is longer than the run.
        """
        if not 0 <= self.warmup_steps <= self.total_steps:
            raise UserError(
                f"warm-up of {self.warmup_steps} steps: expected 0 to {self.total_steps}, the steps of the run"
            )

    def __call__(self, step: int) -> float:
        """Return the value at the zero-based ``step`` below ``total_steps``."""
        if step < self.warmup_steps:
            return self.base * step / max(self.warmup_steps - 1, 1)
        progress = (step - self.warmup_steps) / (self.total_steps - self.warmup_steps)
        return self.final + 0.5 * (self.base - self.final) * (1 + math.cos(math.pi * progress))


def count_warmup_steps(warmup_epochs: float, warmup_steps: int, steps_per_epoch: int) -> int:
    """Return the steps of warm-up: ``warmup_steps`` if it is positive, else the steps of ``warmup_epochs``."""
    return warmup_steps if warmup_steps > 0 else int(warmup_epochs * steps_per_epoch)


def scaled_lr(base_lr: float, total_batch_size: int) -> float:
    """Return the learning rate for a global batch from that for 256 clips (linear scaling rule)."""
    return base_lr * total_batch_size / 256


def plan_run(options: TrainingOptions, num_videos: int, world_size: int) -> Plan:
    """Return the plan of a run from its options and the number of videos.

    Raises:
        UserError: If there are fewer videos than in a step.
    """
    taken = options.clips_per_step(world_size) // options.clips_per_video
    if taken > num_videos:
        parts = (
            f"{counted(world_size, 'process', 'processes')}, --batch_size {options.data.batch_size}, "
            f"{counted(options.accumulation, 'micro-batch', 'micro-batches')}"
        )
        raise UserError(
            f"a step needs {taken} videos or images ({parts}), got {num_videos}: expected a smaller global batch"
        )
    keys = BatchKeys(num_videos, options.data.batch_size, world_size=world_size, accumulation=options.accumulation)
    return Plan(
        epochs=options.optimizer.epochs,
        steps_per_epoch=keys.steps_per_epoch,
        max_steps=options.optimizer.max_steps or 0,
        log_every=options.log.log_every,
        save_every_epochs=options.run.save_ckpt_freq,
        save_every_steps=options.run.save_ckpt_steps,
        seed=options.run.seed,
        videos_per_step=taken,
    )


@dataclass(frozen=True)
class Schedule:
    """The steps of a run, and the learning rate and weight decay of each.

    Attributes:
        plan: How many steps, and when to log and save.
        lr: Learning rate by step of the schedule.
        weight_decay: Weight decay by step of the schedule.
    """

    plan: Plan
    lr: CosineSchedule
    weight_decay: CosineSchedule

    @classmethod
    def of(cls, options: TrainingOptions, num_videos: int, world_size: int) -> Schedule:
        """Return the schedule of a run from its options and the number of videos.

        Raises:
            UserError: If there are fewer videos than in a step, or the warm-up is longer than the run.
        """
        plan = plan_run(options, num_videos, world_size)
        optimizer, total = options.optimizer, options.clips_per_step(world_size)
        warmup = count_warmup_steps(options.warmup_epochs, optimizer.warmup_steps, plan.steps_per_epoch)
        decay = optimizer.weight_decay
        decay_end = decay if optimizer.weight_decay_end is None else optimizer.weight_decay_end
        steps = plan.scheduled_steps
        lr = CosineSchedule(scaled_lr(optimizer.lr, total), scaled_lr(optimizer.min_lr, total), steps, warmup)
        return cls(plan, lr, CosineSchedule(decay, decay_end, steps))

    def rates(self, step: int) -> tuple[float, float]:
        """Return learning rate and weight decay of the update after ``step`` completed ones."""
        schedule_step = self.plan.schedule_step(step)
        return self.lr(schedule_step), self.weight_decay(schedule_step)

    def describe(self) -> str:
        """Describe length and peak learning rate in one line."""
        plan = self.plan
        return f"steps: {plan.last_step}, {plan.steps_per_epoch} per epoch; peak learning rate {self.lr.base:.3g}"
