"""Distinguishes workers that the system killed because memory ran out from workers killed by a video at fault.

The system kills the process that uses most memory, whichever video it reads. The video is therefore retried. It is at
fault only if it repeatedly gets its process killed and no other video does. If workers are killed at one video after
another, the run ends with an error that names the reason.
"""

from __future__ import annotations

import signal
import warnings
from collections.abc import Sequence

from adamae.errors import UserError

# Exit code of a process that the system killed. Processes killed by this package are not counted.
SYSTEM_KILL = -getattr(signal, "SIGKILL", 9)
# A video is at fault after this many consecutive kills at it and at no other video.
_KILLS_BY_A_VIDEO = 3
# Memory is short after more than this many kills with less than a calm period in between.
_MOST_KILLS = 6
# Number of results without a kill after which earlier kills are forgotten; fewer after a video was found at fault.
_CALM, _CALM_AFTER_FAULT = 100, 10


class KilledWorkers:
    """Counts the killed workers of one stream of results.

    Args:
        workers: Name of the workers in messages.
        remedy: Advice in messages.
    """

    def __init__(self, workers: str, remedy: str) -> None:
        self._workers = workers
        self._remedy = remedy
        self._times: list[Sequence[int | None]] = []
        self._calm = _CALM
        self._results = 0

    def add(self, places: Sequence[int | None]) -> set[int]:
        """Record that some workers were killed.

        Args:
            places: Number of the video that each worker was reading, or None.

        Returns:
            Videos that are at fault and must not be retried.

        Raises:
            UserError: If workers are killed too often.
        """
        self._times.append(places)
        self._results = 0
        if len(self._times) > _MOST_KILLS:
            raise UserError(
                f"{sum(map(len, self._times))} {self._workers} were killed by the system in short succession, "
                f"probably because memory ran out; {self._remedy}"
            )
        warnings.warn(
            f"{self._workers} were killed by the system, probably because memory ran out; their files are read "
            f"again. If it happens often, {self._remedy}",
            stacklevel=2,
        )
        latest = self._times[-_KILLS_BY_A_VIDEO:]
        videos = {video for times in latest for video in times}
        found = len(latest) == _KILLS_BY_A_VIDEO and len(videos) == 1
        at_fault = {video for video in videos if found and video is not None}
        self._calm = _CALM_AFTER_FAULT if at_fault else _CALM
        return at_fault

    def pass_one(self) -> None:
        """Record a result: a batch, or the result of one video."""
        self._results += 1
        if self._results >= self._calm:
            self._times.clear()
