"""The contents of a video: background and appearance of the objects, drawn independently of the class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BACKGROUNDS = ("smooth", "textured", "mixed")
# Number of corners of each shape, inscribed in the unit circle; 0 for the disc.
SHAPES = {"disc": 0, "triangle": 3, "square": 4, "hexagon": 6}
# Knots of the texture across an object: enough to make rotation visible, few enough that a token has more than noise.
OBJECT_KNOTS = 5
# Cells of the octaves of a textured background, and the amplitude of each.
TEXTURE_OCTAVES = ((4, 0.2), (8, 0.15), (16, 0.1))
# Maximum distance of a background's colour from grey, and maximum change across the frame.
BACKGROUND_SPREAD = 0.2
# A video's speed may differ from the requested one by this fraction, in either direction.
SPEED_SPREAD = 1 / 3


@dataclass(frozen=True)
class MovingObject:
    """A moving object.

    Attributes:
        corners: Number of corners of its shape; 0 for a disc.
        texture: (K, K, 3) float32 colours from 0 to 1 at knots across the object.
        start: (4,) pose in the first frame, see :func:`adamae.data.synthetic.motion.path`.
    """

    corners: int
    texture: np.ndarray
    start: np.ndarray


@dataclass(frozen=True)
class Scene:
    """The contents of a video, except for its class.

    Attributes:
        background: (S, S, 3) float32 from 0 to 1.
        objects: Objects in the order in which they are painted.
        speed: Speed of all objects in cycles per frame.
    """

    background: np.ndarray
    objects: tuple[MovingObject, ...]
    speed: float


def draw_scene(
    rng: np.random.Generator, *, size: int, background: str, contrast: float, objects: int, speed: float
) -> Scene:
    """Draw a scene.

    Args:
        rng: The video's own generator.
        size: Side length of the frame in pixels, S.
        background: One of :data:`BACKGROUNDS`; "mixed" draws smooth or textured with equal probability.
        contrast: Contrast from 0 to 1: objects are at least this bright, the background at most 1 less this.
        objects: Number of objects.
        speed: Mean speed in cycles per frame, around which the video's speed is drawn.
    """
    textured = background == "textured" or (background == "mixed" and rng.random() < 0.5)
    behind = draw_background(rng, size, textured=textured)
    pace = speed * rng.uniform(1 - SPEED_SPREAD, 1 + SPEED_SPREAD)
    return Scene(behind * np.float32(1 - contrast), tuple(_draw_object(rng, contrast) for _ in range(objects)), pace)


def draw_background(rng: np.random.Generator, size: int, *, textured: bool) -> np.ndarray:
    """Draw (S, S, 3) float32: colours interpolated between the four corners, plus octaves of noise if textured.

    The corners of a smooth background always differ, in every channel. In a flat background, a token would contain
    nothing but the codec's rounding errors, which a target normalised per token amplifies to full scale.
    """
    base = rng.uniform(0.5 - BACKGROUND_SPREAD, 0.5 + BACKGROUND_SPREAD, size=3)
    blend = resample(rng.uniform(-1, 1, size=(2, 2, 3)), size)
    blend -= blend.mean(axis=(0, 1))
    image = base + BACKGROUND_SPREAD * blend / np.abs(blend).max(axis=(0, 1))
    if textured:
        for cells, amplitude in TEXTURE_OCTAVES:
            image += amplitude * resample(rng.uniform(-1, 1, size=(cells + 1, cells + 1, 3)), size)
    return np.clip(image, 0, 1).astype(np.float32)


def resample(knots: np.ndarray, size: int) -> np.ndarray:
    """Resize (K, K, 3) colours at evenly spaced knots to (S, S, 3), bilinear with aligned corners."""
    weights = _hat(np.linspace(0, len(knots) - 1, size), len(knots))
    image: np.ndarray = np.einsum("yk,xl,klc->yxc", weights, weights, knots, optimize=True)
    return image


def _hat(at: np.ndarray, knots: int) -> np.ndarray:
    """Return the (S, K) bilinear weights of the knots 0 .. K - 1 at the positions ``at``."""
    weights: np.ndarray = np.clip(1 - np.abs(at[:, None] - np.arange(knots)), 0, None)
    return weights


def _draw_object(rng: np.random.Generator, contrast: float) -> MovingObject:
    corners = int(rng.choice(list(SHAPES.values())))
    texture = rng.random(size=(OBJECT_KNOTS, OBJECT_KNOTS, 3), dtype=np.float32)
    return MovingObject(corners, np.float32(contrast) + np.float32(1 - contrast) * texture, rng.random(4))
