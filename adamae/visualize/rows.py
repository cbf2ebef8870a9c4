"""Looks as rows of pictures: what the contact sheet, the film and TensorBoard lay out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from adamae.visualize.colours import ERROR_MAP, PROBABILITY_MAP, Scale
from adamae.visualize.footage import Footage
from adamae.visualize.looks import Look, Variant
from adamae.visualize.panels import on_pixels

# An even draw has probability 1; a scale that ends nearer would show its round-off.
_LEAST_PROBABILITY = 2.0
PROBABILITY = "probability over an even draw's"


@dataclass(frozen=True)
class Row:
    """Pictures that belong together, one for each frame.

    Attributes:
        name: What they show.
        frames: (F, S, S, 3) uint8.
    """

    name: str
    frames: np.ndarray


@dataclass(frozen=True)
class Block:
    """The rows of one look.

    Attributes:
        title: How tokens were hidden.
        rows: Its pictures.
    """

    title: str
    rows: tuple[Row, ...]


def shared_scales(looks: Sequence[Look]) -> tuple[Scale, Scale]:
    """The scales of probability and of error, over everything that is shown side by side."""
    probability = Scale.over(
        PROBABILITY, PROBABILITY_MAP, (look.panels.probability for look in looks), _LEAST_PROBABILITY
    )
    return probability, Scale.over("error (the loss of a token)", ERROR_MAP, (look.panels.error for look in looks))


def title_of(variant: Variant, among: Sequence[Variant] = ()) -> str:
    """A variant in words; the seed only where it tells variants apart."""
    name = "adaptive" if variant.mask_type == "learnable" else variant.mask_type
    text = f"{name}, {100 * variant.mask_ratio:g} % hidden"
    several = len({other.seed for other in among}) > 1
    return f"{text}, draw {variant.seed}" if several else text


def blocks_of(footage: Footage, looks: Sequence[Look], scales: tuple[Scale, Scale]) -> list[Block]:
    """All pictures of a video: for each look, without the video itself."""
    among = [look.variant for look in looks]
    return [Block(title_of(look.variant, among), _rows(footage, look, scales)) for look in looks]


def _rows(footage: Footage, look: Look, scales: tuple[Scale, Scale]) -> tuple[Row, ...]:
    panels = look.panels
    probability, error = scales
    by_motion = look.variant.mask_type == "motion"

    def painted(scale: Scale, values: Tensor) -> np.ndarray:
        return scale.paint(footage.in_time(on_pixels(values, panels.grid)).numpy())

    return (
        Row("visible tokens", footage.in_time(panels.seen).numpy()),
        Row("prediction", footage.in_time(panels.prediction).numpy()),
        Row("error", painted(error, panels.error)),
        Row("motion score" if by_motion else "probability", painted(probability, panels.probability)),
    )


def notes_of(looks: Sequence[Look]) -> list[str]:
    """What a reader of the pictures has to know."""
    statistics = looks[0].panels.statistics.value
    ending = "One colour scale for the whole picture." if len(looks) > 1 else ""
    by_motion = any(look.variant.mask_type == "motion" for look in looks)
    return [
        f"Visible tokens are pixels, also within the prediction. Predicted tokens: {statistics}. "
        f"Grey: hidden, or in the error not predicted. {ending}".strip(),
        *(["Motion scores are over the clip's mean, on the scale of the probabilities."] if by_motion else []),
    ]


def enlarged(frames: np.ndarray, factor: int) -> np.ndarray:
    """(..., S, S, 3) to (..., S * factor, S * factor, 3), pixels as squares."""
    return frames if factor == 1 else frames.repeat(factor, axis=-3).repeat(factor, axis=-2)
