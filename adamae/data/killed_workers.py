"""Workers that the system killed, as it does where memory runs out: counted apart from videos that are at fault.

The system ends the process that holds most memory, whatever video it is at. So the video is tried again. It is at
fault only if it alone gets its process killed again and again, while others pass. Where workers are killed at one video
after another, the run ends and says why.
"""

from __future__ import annotations

import signal
import warnings
from collections.abc import Sequence

from adamae.errors import UserError

# The exit code of a process that the system killed. Those that we kill ourselves never get here.
SYSTEM_KILL = -getattr(signal, "SIGKILL", 9)
# So many times in a row at the same video, and at no other: it is at fault.
_KILLS_BY_A_VIDEO = 3
# More than so many times, with less than a calm between one and the next: memory is short.
_MOST_KILLS = 6
# Results without a kill after which the earlier ones are forgotten; fewer show that a video was at fault indeed.
_CALM, _CALM_AFTER_FAULT = 100, 10


class KilledWorkers:
    """Counts them for one stream of results.

    Args:
        workers: What they are called, for messages.
        remedy: What helps, for messages.
    """

    def __init__(self, workers: str, remedy: str) -> None:
        self._workers = workers
        self._remedy = remedy
        self._times: list[Sequence[int | None]] = []
        self._calm = _CALM
        self._results = 0

    def add(self, places: Sequence[int | None]) -> set[int]:
        """Some workers were killed.

        Args:
            places: The number of the video that each of them was at, or None.

        Returns:
            Those videos that are at fault, and are not to be tried again.

        Raises:
            UserError: If it happens too often.
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
        """A result has come: a batch, or what was made of a video."""
        self._results += 1
        if self._results >= self._calm:
            self._times.clear()
