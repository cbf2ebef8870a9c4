"""Looks as rows of pictures: what the contact sheet, the film and TensorBoard lay out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from einops import repeat
from torch import Tensor

from adamae.samplers.sampler import Sampler
from adamae.visualize.colours import ERROR_MAP, PROBABILITY_MAP, Scale
from adamae.visualize.footage import Footage
from adamae.visualize.looks import Look
from adamae.visualize.panels import on_pixels

# An even draw has probability 1; a scale that ends nearer would show its round-off.
_LEAST_PROBABILITY = 2.0
PROBABILITY = "probability relative to uniform"


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


@dataclass(frozen=True)
class Scales:
    """What colours mean.

    Attributes:
        error: Of a token.
        probability: Of a token; None where no draw prefers any.
    """

    error: Scale
    probability: Scale | None

    @property
    def shown(self) -> list[Scale]:
        """Those that a legend explains."""
        return [self.error] if self.probability is None else [self.probability, self.error]


def shared_scales(looks: Sequence[Look]) -> Scales:
    """The scales of error and of probability, over everything that is shown side by side."""
    preferences = [look.panels.probability for look in looks if look.panels.prefers]
    probability = Scale.over(PROBABILITY, PROBABILITY_MAP, preferences, _LEAST_PROBABILITY) if preferences else None
    error = Scale.over("error (the loss of a token)", ERROR_MAP, (look.panels.error for look in looks))
    return Scales(error, probability)


@dataclass(frozen=True)
class Title:
    """A way to mask tokens, in words.

    Attributes:
        method: How they are chosen.
        ratio: How many are masked.
        draw: Which draw; empty where there is only one.
    """

    method: str
    ratio: str
    draw: str

    def __str__(self) -> str:
        """On one line."""
        return ", ".join(filter(None, (self.method, self.ratio, self.draw)))


def title_of(look: Look, among: Sequence[Look] = ()) -> Title:
    """A look in words, with the ratio that it really masks; the seed only where it tells looks apart."""
    variant = look.variant
    several = len({other.variant.seed for other in among}) > 1
    return Title(look.sampler.label, _ratio_of(look), f"seed {variant.seed}" if several else "")


def _ratio_of(look: Look) -> str:
    """What was asked for if the clip's whole tokens allow no better, else what came of it and what was asked for."""
    asked = f"{100 * look.variant.mask_ratio:g} %"
    # Samplers truncate to whole tokens; more than one token off are tubes and frames.
    if abs(look.mask_ratio - look.variant.mask_ratio) * look.panels.grid.num_tokens < 1:
        return f"{asked} masked"
    return f"{100 * look.mask_ratio:.3g} % masked ({asked} requested)"


def blocks_of(footage: Footage, looks: Sequence[Look], scales: Scales) -> list[Block]:
    """All pictures of a video: for each look, without the video itself."""
    return [Block(str(title_of(look, looks)), _rows(footage, look, scales)) for look in looks]


def _rows(footage: Footage, look: Look, scales: Scales) -> tuple[Row, ...]:
    panels = look.panels

    def painted(scale: Scale, values: Tensor) -> np.ndarray:
        return scale.paint(footage.in_time(on_pixels(values, panels.grid)).numpy())

    rows = (
        Row("visible tokens", footage.in_time(panels.seen).numpy()),
        Row("prediction", footage.in_time(panels.prediction).numpy()),
        Row("error", painted(scales.error, panels.error)),
    )
    if not panels.prefers or scales.probability is None:
        return rows
    return (*rows, Row(look.sampler.sampler_class.score_name, painted(scales.probability, panels.probability)))


def notes_of(looks: Sequence[Look]) -> list[str]:
    """What a reader of the pictures has to know."""
    statistics = looks[0].panels.statistics.value
    ending = "All panels share one colour scale." if len(looks) > 1 else ""
    names = dict.fromkeys(look.sampler.sampler_class.score_name for look in looks if look.panels.prefers)
    scores = [name for name in names if name != Sampler.score_name]
    return [
        f"Visible tokens are shown as pixels, also in the prediction. Predicted tokens: {statistics}. "
        f"Grey: masked, or in the error not predicted. {ending}".strip(),
        *(
            f"{name.capitalize()}s are relative to the mean of the clip, on the colour scale of the probabilities."
            for name in scores
        ),
        *worse_than_trivial(looks),
    ]


def worse_than_trivial(looks: Sequence[Look]) -> list[str]:
    """A sentence for each look in which the trivial predictor is as good as the network, or better."""
    return [
        f"{title_of(look, looks)}: the error of the model, {look.statistics['target_error']:.4g}, is not below that of "
        f"the trivial predictor, {look.statistics['trivial_error']:.4g}."
        for look in looks
        if not look.beats_trivial
    ]


def enlarged(frames: np.ndarray, factor: int) -> np.ndarray:
    """(..., S, S, 3) to (..., S * factor, S * factor, 3), pixels as squares."""
    return frames if factor == 1 else repeat(frames, "... h w c -> ... (h p) (w q) c", p=factor, q=factor)
