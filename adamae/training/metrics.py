"""Means of the values that steps report, read from the device only on demand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from adamae.distributed import World
from adamae.peak_memory import peak_memory
from adamae.training.engine import Losses
from adamae.training.objectives import DIAGNOSES


class Averages:
    """Means of named numbers, without non-finite values."""

    def __init__(self, sums: Mapping[str, list[float]] | None = None) -> None:
        # name -> [sum, count]
        self.sums: dict[str, list[float]] = {name: list(pair) for name, pair in (sums or {}).items()}

    def add(self, values: Mapping[str, float]) -> None:
        """Add the values of one step."""
        for name, value in values.items():
            total = self.sums.setdefault(name, [0.0, 0])
            if math.isfinite(value):
                total[0] += value
                total[1] += 1

    def means(self) -> dict[str, float]:
        """Return the means; NaN for a name without a finite value."""
        return {name: total / count if count else math.nan for name, (total, count) in self.sums.items()}


class MetricAverager:
    """Collects the tensors that steps return and reads them from the device in one transfer.

    The mean over ranks is taken first and for each step, so logged values do not depend on when they were read. A run
    that is killed and resumed logs the same numbers.

    Args:
        world: The processes whose values are averaged.

    Attributes:
        interval: Means since the last line of the log.
        epoch: Means since the epoch began.
        extra: Diagnoses of the last step alone, if it was added with ``cuts_interval``.
        skipped: Skipped steps of the run.
        skipped_in_a_row: Consecutive skipped steps up to now.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._unread: list[tuple[int, Losses]] = []
        self._cut: int | None = None
        self.extra: dict[str, float] = {}
        self.interval = Averages()
        self.epoch = Averages()
        self.skipped = 0
        self.skipped_in_a_row = 0

    def add(self, step: int, values: Losses, cuts_interval: bool = False) -> None:
        """Add what a step returned, without waiting for the device.

        Args:
            step: Completed steps.
            values: What the step returned.
            cuts_interval: Keep the step's diagnoses out of the averages. It was diagnosed because the run ends between
                two lines of the log; a run that goes on does not diagnose this step.
        """
        self._unread.append((step, values))
        self._cut = step if cuts_interval else None

    def read(self) -> dict[int, dict[str, float]]:
        """Wait for the device and add the values since the last call to the averages. All ranks call it.

        Returns:
            This rank's own values of the skipped steps.
        """
        if not self._unread:
            return {}
        steps, values = zip(*self._unread, strict=True)
        self._unread = []
        flat = torch.stack([value.float() for step_values in values for value in step_values.values()])
        rows = _rows(values, self._world.mean(flat))
        own: list[dict[str, float]] = []
        left_out = {}
        for number, (step, row) in enumerate(zip(steps, rows, strict=True)):
            skipped = row.pop("skipped", 0.0) > 0
            if step == self._cut:
                self.extra = {name: row.pop(name) for name in DIAGNOSES if name in row}
            self.skipped += skipped
            self.skipped_in_a_row = self.skipped_in_a_row + 1 if skipped else 0
            self.interval.add(row)
            self.epoch.add(row)
            if skipped:
                own = own or _rows(values, flat)
                left_out[step] = own[number]
        return left_out

    def state(self) -> dict[str, Any]:
        """Return the state for :meth:`load`; call :meth:`read` first."""
        return {
            "interval": self.interval.sums,
            "epoch": self.epoch.sums,
            "skipped": self.skipped,
            "skipped_in_a_row": self.skipped_in_a_row,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore saved sums."""
        self.interval = Averages(state["interval"])
        self.epoch = Averages(state["epoch"])
        self.skipped = state["skipped"]
        self.skipped_in_a_row = state["skipped_in_a_row"]


class Throughput:
    """Measures throughput and the fraction of the time spent waiting for data.

    Args:
        world: The processes, which run in lockstep.
        device: Device whose peak memory is reported; on the CPU it is that of the process.
    """

    def __init__(self, world: World, device: torch.device) -> None:
        self._world = world
        self._device = device
        self._restart()

    def _restart(self) -> None:
        self._began = perf_counter()
        self._clips = 0
        self._waited = 0.0

    def add(self, clips: int, waited: float) -> None:
        """Add a micro-batch of this process: its clips, and the seconds of waiting for it."""
        self._clips += clips
        self._waited += waited

    def lap(self) -> dict[str, float]:
        """Return the values since the last call, named in :data:`adamae.training.run_logger.TIMING`."""
        seconds = perf_counter() - self._began
        report = {
            "seconds": seconds,
            "clips_per_second": self._clips * self._world.size / seconds,
            "data_wait": self._waited / seconds,
            "peak_memory_gb": peak_memory(self._device) / 1e9,
        }
        self._restart()
        return report


def _rows(values: tuple[Losses, ...], flat: Tensor) -> list[dict[str, float]]:
    numbers = iter(flat.tolist())
    return [{name: next(numbers) for name in step_values} for step_values in values]
