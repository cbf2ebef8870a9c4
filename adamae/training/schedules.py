"""Learning rate and weight decay as functions of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from adamae.errors import UserError


@dataclass(frozen=True)
class CosineSchedule:
    """Linear warm-up from zero, then half a cosine from ``base`` towards ``final``.

    As in the published code the warm-up includes its end, so ``base`` is used at its last step and again at the
    first step of the cosine, and ``final`` itself is never reached.

    Attributes:
        base: Value at the peak.
        final: Value towards which the cosine falls.
        total_steps: Steps of the whole run.
        warmup_steps: Steps of the linear part.
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
        """The value for the zero-based ``step`` below ``total_steps``."""
        if step < self.warmup_steps:
            return self.base * step / max(self.warmup_steps - 1, 1)
        progress = (step - self.warmup_steps) / (self.total_steps - self.warmup_steps)
        return self.final + 0.5 * (self.base - self.final) * (1 + math.cos(math.pi * progress))


def count_warmup_steps(warmup_epochs: float, warmup_steps: int, steps_per_epoch: int) -> int:
    """Steps of warm-up: ``warmup_steps`` where it is positive, else ``warmup_epochs`` worth of steps."""
    return warmup_steps if warmup_steps > 0 else int(warmup_epochs * steps_per_epoch)


def scaled_lr(base_lr: float, total_batch_size: int) -> float:
    """The learning rate for a total batch, given the one for 256 clips (linear scaling rule)."""
    return base_lr * total_batch_size / 256
