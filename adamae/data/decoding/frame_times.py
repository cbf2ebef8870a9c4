"""When frames are shown, in seconds from the first one."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import av

# A file whose unit of time is coarser than this part of a frame's time cannot round a constant rate by a whole unit.
_COARSE = 0.25


def frame_times(seconds: np.ndarray, fps: float, unit: float) -> np.ndarray:
    """Times of frames, and of the end of the last.

    Where the file's times are those of a constant rate, rounded to its unit, they are n / fps without the rounding.

    Args:
        seconds: (F,) float64, rising.
        fps: Frames per second on the average, 0 where the file does not tell.
        unit: Seconds to which the file rounds.

    Returns:
        (F + 1,) float64 from 0. The last frame is shown as long as the one before it.
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
    """Times of frames as they are decoded, in units of ``base``: those of the file, made to rise from 0.

    Attributes:
        base: Seconds of a unit.
        rate: Frames per second, for those without a time.
        last: Time of the latest frame.
    """

    base: Fraction
    rate: Fraction
    last: int = field(default=-1)
    _first: int | None = field(default=None)

    @property
    def step(self) -> int:
        """Usual time from frame to frame."""
        return max(round(1 / self.rate / self.base), 1)

    def next(self, frame: av.VideoFrame) -> int:
        """The time of the next frame."""
        if frame.pts is None:
            time = self.last + self.step if self.last >= 0 else 0
        else:
            time = round(frame.pts * Fraction(frame.time_base or self.base) / self.base)
            self._first = time if self._first is None else self._first
            time -= self._first
        self.last = max(time, self.last + 1)
        return self.last
