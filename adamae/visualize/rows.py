"""Reconstructions as rows of image panels, for the contact sheet, the film and TensorBoard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from einops import repeat
from torch import Tensor

from adamae.grid import TokenGrid
from adamae.samplers.sampler import Sampler
from adamae.visualize.colours import ERROR_MAP, PROBABILITY_MAP, Scale
from adamae.visualize.reconstruction import Reconstruction
from adamae.visualize.video_clips import VideoClips

# Draws the image of a frame, (S, S, 3) uint8. Images are drawn when they are shown: those of a long video with several
# masks do not fit into memory.
DrawFrame = Callable[[int], np.ndarray]
# Uniform sampling has probability 1; a scale with a lower end would show rounding errors.
_LEAST_PROBABILITY = 2.0
PROBABILITY = "probability relative to uniform"


@dataclass(frozen=True)
class Row:
    """A row of images, one per frame.

    Attributes:
        name: Label of the row.
        image: Draws the image of a frame.
    """

    name: str
    image: DrawFrame


@dataclass(frozen=True)
class Block:
    """The rows of one reconstruction.

    Attributes:
        title: Masking strategy in words.
        rows: Its image panels.
    """

    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Scales:
    """Colour scales.

    Attributes:
        error: Scale of a token's error.
        probability: Scale of a token's probability; None if all sampling is uniform.
    """

    error: Scale
    probability: Scale | None

    @property
    def shown(self) -> list[Scale]:
        """The scales to explain in a legend."""
        return [self.error] if self.probability is None else [self.probability, self.error]


def shared_scales(results: Sequence[Reconstruction]) -> Scales:
    """Return the scales of error and probability over all reconstructions that are shown side by side."""
    preferences = [result.panels.probability for result in results if result.panels.prefers]
    probability = Scale.over(PROBABILITY, PROBABILITY_MAP, preferences, _LEAST_PROBABILITY) if preferences else None
    error = Scale.over("error (the loss of a token)", ERROR_MAP, (result.panels.error for result in results))
    return Scales(error, probability)


@dataclass(frozen=True)
class Title:
    """A masking strategy in words.

    Attributes:
        method: How tokens are selected.
        ratio: Mask ratio.
        draw: Seed of the draw; empty if there is only one.
    """

    method: str
    ratio: str
    draw: str

    def __str__(self) -> str:
        """Join the parts in one line."""
        return ", ".join(filter(None, (self.method, self.ratio, self.draw)))


def title_of(result: Reconstruction, among: Sequence[Reconstruction] = ()) -> Title:
    """Title of a reconstruction: sampler, actual mask ratio, and the seed where several are shown."""
    variant = result.variant
    several = len({other.variant.seed for other in among}) > 1
    return Title(result.sampler.label, _ratio_of(result), f"seed {variant.seed}" if several else "")


def _ratio_of(result: Reconstruction) -> str:
    """The requested mask ratio if it is met to within one token, else the actual and the requested one."""
    asked = f"{100 * result.variant.mask_ratio:g} %"
    # Samplers round down to integer numbers of tokens; larger differences are due to tubes and frames.
    if abs(result.mask_ratio - result.variant.mask_ratio) * result.panels.grid.num_tokens < 1:
        return f"{asked} masked"
    return f"{100 * result.mask_ratio:.3g} % masked ({asked} requested)"


def blocks_of(video: VideoClips, results: Sequence[Reconstruction], scales: Scales) -> list[Block]:
    """All panels of a video, one block per reconstruction, without the video itself."""
    return [Block(str(title_of(result, results)), _rows(video, result, scales)) for result in results]


def _rows(video: VideoClips, result: Reconstruction, scales: Scales) -> tuple[Row, ...]:
    panels = result.panels

    def shown(clips: Tensor) -> DrawFrame:
        return lambda frame: video.at(frame, clips).numpy()

    rows = (
        Row("visible tokens", shown(panels.seen)),
        Row("prediction", shown(panels.prediction)),
        Row("error", painted(video, panels.error, panels.grid, scales.error)),
    )
    if not panels.prefers or scales.probability is None:
        return rows
    name = result.sampler.sampler_class.score_name
    return (*rows, Row(name, painted(video, panels.probability, panels.grid, scales.probability)))


def painted(video: VideoClips, values: Tensor, grid: TokenGrid, scale: Scale) -> DrawFrame:
    """Images of (C, N) values of tokens, in colours that are constant over the pixels of a token."""
    planes = values.unflatten(1, (grid.t, 1, grid.h, grid.w)).expand(-1, -1, grid.tubelet_size, -1, -1).flatten(1, 2)
    return lambda frame: enlarged(scale.paint(video.at(frame, planes).numpy()), grid.patch_size)


def notes_of(results: Sequence[Reconstruction]) -> list[str]:
    """Return notes for the reader of the panels."""
    statistics = results[0].panels.statistics.value
    ending = "All panels share one colour scale." if len(results) > 1 else ""
    replaced = any(result.panels.secondary.any() for result in results)
    blue = "Blue: visible, but the encoder sees a mask token. " if replaced else ""
    names = dict.fromkeys(result.sampler.sampler_class.score_name for result in results if result.panels.prefers)
    scores = [name for name in names if name != Sampler.score_name]
    return [
        f"Visible tokens are shown as pixels, also in the prediction. Predicted tokens: {statistics}. "
        f"Grey: masked, or in the error not predicted. {blue}{ending}".strip(),
        *(
            f"{name.capitalize()}s are relative to the mean of the clip, on the colour scale of the probabilities."
            for name in scores
        ),
        *worse_than_trivial(results),
    ]


def worse_than_trivial(results: Sequence[Reconstruction]) -> list[str]:
    """One sentence for each reconstruction whose error is not below that of the trivial predictor."""
    return [
        f"{title_of(result, results)}: the error of the model, {result.statistics['target_error']:.4g}, is not "
        f"below that of "
        f"the trivial predictor, {result.statistics['trivial_error']:.4g}."
        for result in results
        if not result.beats_trivial
    ]


def enlarged(image: np.ndarray, factor: int) -> np.ndarray:
    """(H, W, 3) to (H * factor, W * factor, 3) by repeating pixels."""
    return image if factor == 1 else repeat(image, "h w c -> (h p) (w q) c", p=factor, q=factor)
