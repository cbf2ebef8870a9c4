"""From a clip and what a model made of it to pictures, by rules that a person can check.

Visible tokens are shown as the pixels that they are, never as predictions. A model that predicts normalised pixels says
nothing of a token's mean and deviation; they are borrowed from the target, or guessed from the visible neighbours, and
whoever draws the panel says which. Errors are those of the training loss, a number for each token.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import torch
from einops import rearrange, repeat
from torch import Tensor

from adamae.grid import TokenGrid
from adamae.layers.pixels import PixelNormalisation
from adamae.selection import TokenSelection, gather_tokens

# Grey level of what is hidden: darker than most of a video, but not black, which videos have.
HIDDEN = 48
# Colour of visible tokens that the encoder sees as a mask token: a blue that is no grey and rarely a video's.
SECONDARY = (40, 70, 160)
# How many visible tokens tell a hidden one's mean and deviation.
NEIGHBOURS = 4
# What the reconstruction target adds to a deviation.
_EPSILON = 1e-6


class Statistics(Enum):
    """Where a predicted token's mean and deviation come from; the value is what the panel says."""

    TARGET = "mean and std of the target"
    NEIGHBOURS = "mean and std of visible neighbours"
    PREDICTED = "predicted pixels"


@dataclass(frozen=True)
class Panels:
    """Pictures of B clips.

    Attributes:
        grid: The clips' tokens.
        video: (B, T, H, W, 3) uint8 what went in.
        seen: (B, T, H, W, 3) uint8 the visible tokens' pixels, the rest grey, and blue where the encoder sees a mask
            token instead of a visible token's pixels.
        prediction: (B, T, H, W, 3) uint8 predictions of the target tokens among the visible ones' pixels.
        visible: (B, N) bool, for colouring.
        secondary: (B, N) bool, those of them that the encoder sees as a mask token.
        error: (B, N) float32 loss of each target token; NaN where nothing was predicted.
        probability: (B, N) float32 of being drawn first, relative to uniform sampling, so that 1 is no preference.
        statistics: Where mean and deviation of predicted tokens come from.
        prefers: Whether the draw prefers some tokens; if not, the probability is 1 everywhere and worth no picture.
    """

    grid: TokenGrid
    video: Tensor
    seen: Tensor
    prediction: Tensor
    visible: Tensor
    secondary: Tensor
    error: Tensor
    probability: Tensor
    statistics: Statistics
    prefers: bool


def draw_panels(
    video: Tensor,
    prediction: Tensor,
    selection: TokenSelection,
    token_error: Tensor,
    grid: TokenGrid,
    *,
    normalised: bool,
    own_statistics: bool = False,
    standardised: PixelNormalisation | None = None,
) -> Panels:
    """The pictures of a forward pass.

    Args:
        video: (B, T, H, W, 3) uint8.
        prediction: (B, M, P) of the target tokens.
        selection: Visible and target tokens; without log-probabilities the draw counts as even.
        token_error: (B, M).
        grid: The clips' tokens.
        normalised: Whether the prediction is of tokens normalised by their own mean and deviation.
        own_statistics: Guess those from visible neighbours instead of borrowing them from the target.
        standardised: Mean and deviation are those over all values of the token, standardised like this; None: over each
            colour.
    """
    pixels = grid.patchify(video)
    visible = torch.zeros(pixels.shape[:2], dtype=torch.bool).scatter(1, selection.visible, True)
    if not normalised:
        statistics = Statistics.PREDICTED
    else:
        statistics = Statistics.NEIGHBOURS if own_statistics else Statistics.TARGET
    guess = _to_unit_range(prediction, pixels, selection, grid, statistics, standardised)
    shown = torch.full_like(pixels, HIDDEN)
    seen = torch.where(visible.unsqueeze(-1), pixels, shown)
    secondary = torch.zeros_like(visible)
    if selection.secondary is not None:
        secondary.scatter_(1, selection.secondary, True)
        colour = torch.tensor(SECONDARY, dtype=torch.uint8).repeat(pixels.shape[-1] // 3)
        seen = torch.where(secondary.unsqueeze(-1), colour, seen)
    places = selection.target.unsqueeze(-1).expand(-1, -1, pixels.shape[-1])
    predicted = seen.scatter(1, places, (guess * 255).round().clamp(0, 255).to(torch.uint8))
    error = torch.full(pixels.shape[:2], torch.nan).scatter(1, selection.target, token_error.float())
    even = torch.ones(pixels.shape[:2])
    return Panels(
        grid=grid,
        video=video,
        seen=grid.unpatchify(seen),
        prediction=grid.unpatchify(predicted),
        visible=visible,
        secondary=secondary,
        error=error,
        probability=even if selection.log_probs is None else selection.log_probs.float().exp() * grid.num_tokens,
        statistics=statistics,
        prefers=selection.log_probs is not None,
    )


def _to_unit_range(
    prediction: Tensor,
    pixels: Tensor,
    selection: TokenSelection,
    grid: TokenGrid,
    statistics: Statistics,
    standardised: PixelNormalisation | None,
) -> Tensor:
    """(B, M, P) predicted pixels between 0, black, and 1, white (and what lies beyond)."""
    if statistics is Statistics.PREDICTED:
        return prediction.float()
    mean, deviation = token_statistics(pixels, standardised)
    if statistics is Statistics.NEIGHBOURS:
        mean, deviation = (
            neighbour_average(values, selection.read_tokens(grid.num_tokens), selection.target, grid)
            for values in (mean, deviation)
        )
    else:
        mean, deviation = (gather_tokens(values, selection.target) for values in (mean, deviation))
    colours = rearrange(prediction.float(), "b m (k c) -> b m k c", c=mean.shape[-1])
    return rearrange(colours * (deviation + _EPSILON).unsqueeze(2) + mean.unsqueeze(2), "b m k c -> b m (k c)")


def token_statistics(pixels: Tensor, standardised: PixelNormalisation | None = None) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each token and colour: (B, N, P) uint8 to two (B, N, 3) of pixels between 0 and 1.

    With ``standardised`` they are those over all standardised values of a token, in each colour's own units.
    """
    if standardised is not None:
        deviation, mean = torch.std_mean(standardised(pixels).float(), dim=2, keepdim=True)
        return mean * standardised.std + standardised.mean, deviation * standardised.std
    deviation, mean = torch.std_mean(rearrange(pixels.float() / 255, "b n (k c) -> b n k c", c=3), dim=2)
    return mean, deviation


def neighbour_average(values: Tensor, visible: Tensor, target: Tensor, grid: TokenGrid) -> Tensor:
    """What the nearest visible tokens say of each target token.

    Args:
        values: (B, N, K) of all tokens; only those of visible ones are read.
        visible: (B, V).
        target: (B, M).
        grid: Where tokens lie. Distances are counted in tokens, along time as in space.

    Returns:
        (B, M, K) means over the four nearest visible tokens, weighted by the inverse square of their distance.
    """
    place = torch.cartesian_prod(torch.arange(grid.t), torch.arange(grid.h), torch.arange(grid.w)).float()
    squared = torch.cdist(place[target], place[visible]).square()
    near = squared.topk(min(NEIGHBOURS, visible.shape[1]), dim=2, largest=False)
    weight = 1 / near.values
    known = gather_tokens(values, visible)
    batch = torch.arange(len(values)).view(-1, 1, 1)
    return (known[batch, near.indices] * weight.unsqueeze(-1)).sum(dim=2) / weight.sum(dim=2, keepdim=True)


def on_pixels(values: Tensor, grid: TokenGrid) -> Tensor:
    """(B, N) a number for each token to (B, T, H, W), the same at each of its pixels."""
    sizes = {"t": grid.t, "h": grid.h, "f": grid.tubelet_size, "p": grid.patch_size, "q": grid.patch_size}
    return repeat(values, "b (t h w) -> b (t f) (h p) (w q)", **sizes)
