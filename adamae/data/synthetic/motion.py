"""The classes: twelve motions.

An object's pose has four coordinates: position along the width and the height, angle, and size. Each is cyclic. An
object that leaves the frame on the right enters on the left, and one that has reached its largest size restarts at its
smallest. A class is a direction in this space, and start poses are uniform in it. The pose is therefore uniform in
every single frame, whatever the class: one frame contains no information about the class, two frames determine it.
"""

from __future__ import annotations

import numpy as np

_DIAGONAL = 0.5**0.5

# name: direction in (width, height, angle, size). Rows count downwards, so a growing angle turns clockwise.
MOTIONS: dict[str, tuple[float, float, float, float]] = {
    "left": (-1, 0, 0, 0),
    "right": (1, 0, 0, 0),
    "up": (0, -1, 0, 0),
    "down": (0, 1, 0, 0),
    "up-left": (-_DIAGONAL, -_DIAGONAL, 0, 0),
    "up-right": (_DIAGONAL, -_DIAGONAL, 0, 0),
    "down-left": (-_DIAGONAL, _DIAGONAL, 0, 0),
    "down-right": (_DIAGONAL, _DIAGONAL, 0, 0),
    "clockwise": (0, 0, 1, 0),
    "counter-clockwise": (0, 0, -1, 0),
    "growing": (0, 0, 0, 1),
    "shrinking": (0, 0, 0, -1),
}


def path(motion: str, start: np.ndarray, speed: float, num_frames: int) -> np.ndarray:
    """Return the pose of one object over a video.

    Args:
        motion: A key of :data:`MOTIONS`.
        start: (4,) pose in the first frame, in cycles.
        speed: Cycles per frame: at 0.25, an object crosses the frame, or makes a full turn, in four frames.
        num_frames: T.

    Returns:
        (T, 4) width, height, angle and size, in cycles from 0 to below 1.
    """
    steps = np.arange(num_frames)[:, None] * speed * np.asarray(MOTIONS[motion])
    cycles: np.ndarray = np.mod(start + steps, 1.0)
    return cycles
