"""What a video shows: the background and the look of the objects, drawn without knowing the class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BACKGROUNDS = ("smooth", "textured", "mixed")
# Corners of each shape, all of them inscribed in the unit circle; 0 is the disc itself.
SHAPES = {"disc": 0, "triangle": 3, "square": 4, "hexagon": 6}
# Knots across an object: enough that a turn shows, few enough that a token sees more than noise.
OBJECT_KNOTS = 5
# Cells of the octaves of a textured background and how much each may add to the colour.
TEXTURE_OCTAVES = ((4, 0.2), (8, 0.15), (16, 0.1))
# How far a background's colour may lie from grey, and how far it may change across the frame.
BACKGROUND_SPREAD = 0.2
# A video's speed may differ from the one asked for by this share, to either side.
SPEED_SPREAD = 1 / 3


@dataclass(frozen=True)
class MovingObject:
    """One object.

    Attributes:
        corners: Of its shape; 0 for a disc.
        texture: (K, K, 3) float32 colours from 0 to 1 at knots across it.
        start: (4,) pose in the first frame, see :func:`adamae.data.synthetic.motion.path`.
    """

    corners: int
    texture: np.ndarray
    start: np.ndarray


@dataclass(frozen=True)
class Scene:
    """All of a video but its class.

    Attributes:
        background: (S, S, 3) float32 from 0 to 1.
        objects: Painted in this order.
        speed: Of all objects, in cycles per frame.
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
        size: S, pixels along the frame's side.
        background: One of :data:`BACKGROUNDS`; "mixed" tosses a coin.
        contrast: Share of the brightness from 0 to 1 that is kept between the background and the objects.
        objects: How many.
        speed: Cycles per frame around which the video's speed is drawn.
    """
    textured = background == "textured" or (background == "mixed" and rng.random() < 0.5)
    behind = draw_background(rng, size, textured=textured)
    pace = speed * rng.uniform(1 - SPEED_SPREAD, 1 + SPEED_SPREAD)
    return Scene(behind * np.float32(1 - contrast), tuple(_draw_object(rng, contrast) for _ in range(objects)), pace)


def draw_background(rng: np.random.Generator, size: int, *, textured: bool) -> np.ndarray:
    """(S, S, 3) float32: colours that blend between the four corners, with octaves of noise over them if textured.

    The corners of a smooth background always differ, in every colour. A flat one would leave nothing but the
    codec's rounding in a token, and a target normalised per token blows that up to full size.
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
    """(K, K, 3) colours at evenly spaced knots to (S, S, 3), bilinear, corner to corner."""
    weights = _hat(np.linspace(0, len(knots) - 1, size), len(knots))
    image: np.ndarray = np.einsum("yk,xl,klc->yxc", weights, weights, knots, optimize=True)
    return image


def _hat(at: np.ndarray, knots: int) -> np.ndarray:
    """(S, K) bilinear weights of the knots 0 .. K - 1 at the places ``at``."""
    weights: np.ndarray = np.clip(1 - np.abs(at[:, None] - np.arange(knots)), 0, None)
    return weights


def _draw_object(rng: np.random.Generator, contrast: float) -> MovingObject:
    corners = int(rng.choice(list(SHAPES.values())))
    texture = rng.random(size=(OBJECT_KNOTS, OBJECT_KNOTS, 3), dtype=np.float32)
    return MovingObject(corners, np.float32(contrast) + np.float32(1 - contrast) * texture, rng.random(4))
