"""Renders a scene and a class to pixels and motion masks."""

from __future__ import annotations

import math

import numpy as np

from adamae.data.synthetic.motion import path
from adamae.data.synthetic.scene import MovingObject, Scene

# Smallest size of an object, relative to its largest.
SMALLEST = 1 / 3


def render(scene: Scene, motion: str, *, num_frames: int, object_size: float) -> tuple[np.ndarray, np.ndarray]:
    """Render a video.

    Args:
        scene: Contents of the video, except for the class.
        motion: The class, a key of :data:`adamae.data.synthetic.motion.MOTIONS`.
        num_frames: T.
        object_size: Largest diameter of an object over the frame's side, at most 1.

    Returns:
        Frames (T, S, S, 3) float32 from 0 to 1, and motion masks (T, S, S) bool: the pixels that an object covers by
        half or more.
    """
    size = len(scene.background)
    frames = np.repeat(scene.background[None], num_frames, axis=0)
    moving = np.zeros(frames.shape[:3], dtype=bool)
    for painted in scene.objects:
        poses = path(motion, painted.start, scene.speed, num_frames)
        _paint(frames, moving, painted, poses, object_size * size / 2)
    return frames, moving


def add_camera_noise(frames: np.ndarray, std: float, rng: np.random.Generator) -> np.ndarray:
    """Add independent noise of this standard deviation to every pixel and channel; frames from 0 to 1 to uint8."""
    if std:
        frames = frames + std * rng.standard_normal(frames.shape, dtype=np.float32)
    return np.round(np.clip(frames, 0, 1) * 255).astype(np.uint8)


def _paint(frames: np.ndarray, moving: np.ndarray, painted: MovingObject, poses: np.ndarray, largest: float) -> None:
    """Blend one object into frames (T, S, S, 3) and add it to the mask (T, S, S), both in place."""
    size = frames.shape[1]
    radius = largest * (SMALLEST + (1 - SMALLEST) * poses[:, 3])
    right = _cyclic_offset(size, poses[:, 0])
    down = _cyclic_offset(size, poses[:, 1])
    # Compute only the pixels near the object: a tenth of the frame or less.
    near = right[:, None, :] ** 2 + down[:, :, None] ** 2 <= (radius[:, None, None] + 1) ** 2
    t, y, x = np.nonzero(near)
    angle = 2 * math.pi * poses[t, 2]
    dx, dy = right[t, x], down[t, y]
    u = (np.cos(angle) * dx + np.sin(angle) * dy) / radius[t]
    v = (np.cos(angle) * dy - np.sin(angle) * dx) / radius[t]
    cover = np.clip(_inside(u, v, painted.corners) * radius[t] + 0.5, 0, 1)
    colour = _look_up(painted.texture, u, v)
    frames[t, y, x] += (cover[:, None] * (colour - frames[t, y, x])).astype(np.float32)
    moving[t, y, x] |= cover >= 0.5


def _cyclic_offset(size: int, centre: np.ndarray) -> np.ndarray:
    """Return the (T, S) shortest signed distance in pixels from each centre (T,), in cycles, to each pixel."""
    places = (np.arange(size) + 0.5) / size
    offset: np.ndarray = size * (np.mod(places - centre[:, None] + 0.5, 1.0) - 0.5)
    return offset


def _inside(u: np.ndarray, v: np.ndarray, corners: int) -> np.ndarray:
    """Return the distance to the edge, positive inside, of a disc or regular polygon inscribed in the unit circle."""
    if not corners:
        return 1 - np.hypot(u, v)
    normals = 2 * math.pi * np.arange(corners) / corners
    farthest = np.max([u * math.cos(normal) + v * math.sin(normal) for normal in normals], axis=0)
    distance: np.ndarray = math.cos(math.pi / corners) - farthest
    return distance


def _look_up(texture: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Interpolate (K, K, 3) colours, at knots from -1 to 1, bilinearly at u (n,) and v (n,): (n, 3)."""
    last = len(texture) - 1
    column = np.clip((u + 1) / 2, 0, 1) * last
    row = np.clip((v + 1) / 2, 0, 1) * last
    i = np.minimum(row.astype(int), last - 1)
    j = np.minimum(column.astype(int), last - 1)
    down, right = (row - i)[:, None], (column - j)[:, None]
    top = texture[i, j] * (1 - right) + texture[i, j + 1] * right
    bottom = texture[i + 1, j] * (1 - right) + texture[i + 1, j + 1] * right
    colour: np.ndarray = top * (1 - down) + bottom * down
    return colour
