"""Dropout and stochastic depth whose pattern belongs to the clip, not to its place in the batch.

With patterns drawn from one global generator, two processes with a batch of B each could not repeat one process
with a batch of 2B.
"""

from __future__ import annotations

from torch import Tensor

from adamae.randomness import SampleNoise


def dropout(x: Tensor, rate: float, noise: SampleNoise) -> Tensor:
    """Zero elements of ``x`` (B, ...) with probability ``rate`` and scale the others by 1 / (1 - rate)."""
    return x * noise.keep(rate, *x.shape[1:]) * (1 / (1 - rate))


def drop_path(x: Tensor, rate: float, noise: SampleNoise) -> Tensor:
    """Zero whole clips of a residual branch ``x`` (B, ...) with probability ``rate``, scale the others."""
    keep = noise.keep(rate, 1).to(x.dtype) / (1 - rate)
    return x * keep.view(-1, *(1,) * (x.dim() - 1))
