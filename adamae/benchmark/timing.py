"""Timing on a noisy machine: contenders take turns, and medians are compared."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

# Large enough that the time of anything but the product is negligible, which needs more on a GPU.
_MATRIX_SIDE = {False: 1024, True: 8192}
_PRODUCTS = 4


@dataclass(frozen=True)
class Timing:
    """Median seconds of one call.

    Attributes:
        wall: Seconds of wall time.
        process: Seconds of processor time over all threads (on a GPU: of the host only).
    """

    wall: float
    process: float


def take_turns(contenders: Mapping[str, Callable[[], object]], rounds: int, device: torch.device) -> dict[str, Timing]:
    """Time callables in alternation after one warm-up call each.

    Args:
        contenders: Callables by name.
        rounds: Measured calls of each.
        device: Device on which they run; a CUDA device is synchronised.

    Returns:
        Medians by name.
    """
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for call in contenders.values():
        call()
    for _ in range(rounds):
        for name, call in contenders.items():
            wait_for(device)
            wall, process = time.perf_counter(), time.process_time()
            call()
            wait_for(device)
            measured[name].append((time.perf_counter() - wall, time.process_time() - process))
    return {
        name: Timing(statistics.median(wall for wall, _ in pairs), statistics.median(process for _, process in pairs))
        for name, pairs in measured.items()
    }


def wait_for(device: torch.device) -> None:
    """Wait until everything queued on ``device`` is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matrix_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Return the operations per second of a large matrix product: the best of a few, as noise only slows it down."""
    size = _MATRIX_SIDE[device.type == "cuda"]
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    best = math.inf
    for _ in range(5):
        wait_for(device)
        start = time.perf_counter()
        for _ in range(_PRODUCTS):
            torch.mm(left, right)
        wait_for(device)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 * _PRODUCTS / best
