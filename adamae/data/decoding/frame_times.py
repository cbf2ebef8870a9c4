"""Presentation times of frames, in seconds from the first one."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import av

# Largest time base, as a fraction of a frame's duration, with which a difference of one unit counts as rounding.
_COARSE = 0.25


def frame_times(seconds: np.ndarray, fps: float, unit: float) -> np.ndarray:
    """Return the start times of frames and the end time of the last one.

    If the file's times are those of a constant rate, rounded to its time base, they are replaced by the exact n / fps.

    Args:
        seconds: (F,) float64 presentation times in ascending order.
        fps: Average frames per second, 0 if the file does not store it.
        unit: Time base of the file in seconds.

    Returns:
        (F + 1,) float64, starting at 0. The last frame has the duration of the one before it.
    """
    count = len(seconds)
    told = seconds - seconds[0]
    if fps > 0:
        even = np.arange(count + 1) / fps
        allowed = unit * (1 - 1e-6) if unit * fps <= _COARSE else 1e-6 / fps
        if count == 1 or np.abs(told - even[:-1]).max() < allowed:
            return even
    latest = told[-1] - told[-2] if count > 1 else 1 / 25
    return np.append(told, told[-1] + latest)


@dataclass
class Clock:
    """Times of frames as they are decoded, in units of ``base``: the file's times, starting at 0 and made ascending.

    Attributes:
        base: Time base in seconds.
        rate: Frames per second, used for frames without a time.
        last: Time of the latest frame.
    """

    base: Fraction
    rate: Fraction
    last: int = field(default=-1)
    _first: int | None = field(default=None)

    @property
    def step(self) -> int:
        """Usual time between two frames."""
        return max(round(1 / self.rate / self.base), 1)

    def next(self, frame: av.VideoFrame) -> int:
        """Return the time of the next frame."""
        if frame.pts is None:
            time = self.last + self.step if self.last >= 0 else 0
        else:
            time = round(frame.pts * Fraction(frame.time_base or self.base) / self.base)
            self._first = time if self._first is None else self._first
            time -= self._first
        self.last = max(time, self.last + 1)
        return self.last
