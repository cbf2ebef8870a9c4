"""This CPU as a device to predict steps for: its limits measured, on one thread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from adamae.gpu_specs import Gpu

# Large enough for the library's best, small enough to be measured often.
_MATRIX = 1024
# Float32 numbers beyond any cache.
_NUMBERS = 32 << 20
_CALLS = 1000


def measure_cpu(rounds: int = 3) -> Gpu:
    """Limits of one thread in float32, by processor time: the machine may have other work.

    Args:
        rounds: Measurements of each limit; the median is taken.
    """
    left, right = torch.randn(2, _MATRIX, _MATRIX)
    source, target = torch.ones(_NUMBERS), torch.empty(_NUMBERS)
    few = torch.zeros(4)

    def call_often() -> None:
        for _ in range(_CALLS):
            few.add_(1)

    product = _seconds(lambda: torch.mm(left, right), rounds)
    copy = _seconds(lambda: target.copy_(source), rounds)
    return Gpu(
        title="this CPU, one thread",
        flops={"fp32": 2 * _MATRIX**3 / product},
        bandwidth=2 * source.nbytes / copy,
        # Its attention is computed by the same units as its products, and counts as such.
        exponentials=float("inf"),
        launch=_seconds(call_often, rounds) / _CALLS,
    )


def _seconds(call: Callable[[], object], rounds: int) -> float:
    """Median processor time of a call, after one that does not count."""
    call()
    measured = []
    for _ in range(rounds):
        start = time.process_time()
        call()
        measured.append(time.process_time() - start)
    return statistics.median(measured)
