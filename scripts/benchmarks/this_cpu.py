"""This CPU as a device for predictions: its limits are measured on one thread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from adamae.gpu_specs import Gpu

# Large enough for peak throughput, small enough for repeated measurements.
_MATRIX = 1024
# Float32 numbers that exceed any cache.
_NUMBERS = 32 << 20
_CALLS = 1000


def measure_cpu(rounds: int = 3) -> Gpu:
    """Measure the limits of one thread in float32 by processor time, as the machine may be busy.

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
        # On a CPU the same units compute exponentials and products of attention, so there is no separate limit.
        exponentials=float("inf"),
        launch=_seconds(call_often, rounds) / _CALLS,
    )


def _seconds(call: Callable[[], object], rounds: int) -> float:
    """Median processor time of a call, after a warm-up call."""
    call()
    measured = []
    for _ in range(rounds):
        start = time.process_time()
        call()
        measured.append(time.process_time() - start)
    return statistics.median(measured)
