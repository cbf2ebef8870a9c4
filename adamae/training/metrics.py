"""Means of what the steps report, read from the device only when somebody wants to know."""

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


class Averages:
    """Means of named numbers; those that are not finite do not count."""

    def __init__(self, sums: Mapping[str, list[float]] | None = None) -> None:
        # name -> [sum, count]
        self.sums: dict[str, list[float]] = {name: list(pair) for name, pair in (sums or {}).items()}

    def add(self, values: Mapping[str, float]) -> None:
        """Count one more step."""
        for name, value in values.items():
            total = self.sums.setdefault(name, [0.0, 0])
            if math.isfinite(value):
                total[0] += value
                total[1] += 1

    def means(self) -> dict[str, float]:
        """The means; NaN for a name that never had a finite value."""
        return {name: total / count if count else math.nan for name, (total, count) in self.sums.items()}


class MetricAverager:
    """Keeps the tensors that steps return and reads many of them at once.

    The mean over ranks is taken per step, before anything else is, so what is logged does not depend on when it was
    read; a run that was killed and resumed logs the same numbers.

    Args:
        world: The processes whose values are averaged.

    Attributes:
        interval: Means since the last line of the log.
        epoch: Means since the epoch began.
        skipped: Steps of the run that were left out.
        skipped_in_a_row: Those at its current end.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._unread: list[tuple[int, Losses]] = []
        self.interval = Averages()
        self.epoch = Averages()
        self.skipped = 0
        self.skipped_in_a_row = 0

    def add(self, step: int, values: Losses) -> None:
        """Take what a step returned. Does not wait for the device."""
        self._unread.append((step, values))

    def read(self) -> dict[int, dict[str, float]]:
        """Wait for the device and average what came since the last call. All ranks call.

        Returns:
            This rank's own values of the steps that were left out.
        """
        if not self._unread:
            return {}
        steps, values = zip(*self._unread, strict=True)
        self._unread = []
        flat = torch.stack([value.float() for step_values in values for value in step_values.values()])
        rows = _rows(values, self._world.mean({"": flat})[""])
        own: list[dict[str, float]] = []
        left_out = {}
        for number, (step, row) in enumerate(zip(steps, rows, strict=True)):
            skipped = row.pop("skipped", 0.0) > 0
            self.skipped += skipped
            self.skipped_in_a_row = self.skipped_in_a_row + 1 if skipped else 0
            self.interval.add(row)
            self.epoch.add(row)
            if skipped:
                own = own or _rows(values, flat)
                left_out[step] = own[number]
        return left_out

    def state(self) -> dict[str, Any]:
        """What :meth:`load` takes; call :meth:`read` first."""
        return {
            "interval": self.interval.sums,
            "epoch": self.epoch.sums,
            "skipped": self.skipped,
            "skipped_in_a_row": self.skipped_in_a_row,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on with saved sums."""
        self.interval = Averages(state["interval"])
        self.epoch = Averages(state["epoch"])
        self.skipped = state["skipped"]
        self.skipped_in_a_row = state["skipped_in_a_row"]


class Throughput:
    """How fast a stretch of the run goes, and how much of it is waiting for data.

    Args:
        world: The processes, which all go at the same pace.
        device: Whose memory is watched; on the CPU it is the process's.
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
        """Count a micro-batch of this process: its clips, and the seconds until they came."""
        self._clips += clips
        self._waited += waited

    def lap(self) -> dict[str, float]:
        """The stretch since the last call: :data:`adamae.training.run_logger.TIMING` says what."""
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
