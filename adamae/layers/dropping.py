"""Dropout and stochastic depth whose pattern depends on the clip, not on its position in the batch.

With a global generator, two processes with a batch of B each could not reproduce one process with a batch of 2B.
"""

from __future__ import annotations

from torch import Tensor

from adamae.checks import check_rate
from adamae.randomness import SampleNoise


def dropout(x: Tensor, rate: float, noise: SampleNoise) -> Tensor:
    """Zero elements of ``x`` (B, ...) with probability ``rate`` and scale the others by 1 / (1 - rate)."""
    return x * noise.keep(rate, *x.shape[1:]) * (1 / (1 - rate))


def drop_path(x: Tensor, rate: float, noise: SampleNoise) -> Tensor:
    """Zero a residual branch ``x`` (B, ...) for each clip with probability ``rate`` and scale the others."""
    keep = noise.keep(rate, 1).to(x.dtype) / (1 - rate)
    return x * keep.view(-1, *(1,) * (x.dim() - 1))


def drop_path_rates(depth: int, last: float) -> list[float]:
    """Return the drop-path rates of ``depth`` blocks, which rise linearly from 0 to ``last``.

    Raises:
        UserError: If ``last`` is not in [0, 1).
    """
    check_rate("drop_path_rate", last)
    return [last * number / max(1, depth - 1) for number in range(depth)]
