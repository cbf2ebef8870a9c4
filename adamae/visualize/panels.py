"""Image panels of a clip and of a model's output on it.

Visible tokens are always shown as their pixels, never as predictions. A model that predicts normalised pixels does not
predict a token's mean and std. They are taken from the target, or estimated from visible neighbours; the panel states
which. Errors are those of the training loss, one number per token.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import torch
from einops import rearrange
from torch import Tensor

from adamae.grid import TokenGrid
from adamae.layers.pixels import PixelNormalisation
from adamae.selection import TokenSelection, gather_tokens

# Grey level of masked tokens: darker than most of a video, but not black, which occurs in videos.
MASKED_GREY = 48
# Colour of visible tokens that the encoder sees as a mask token: a blue that rarely occurs in videos.
SECONDARY = (40, 70, 160)
# Number of visible tokens from which the mean and std of a masked one are estimated.
NEIGHBOURS = 4
# Epsilon that the reconstruction target adds to the std.
_EPSILON = 1e-6


class Statistics(Enum):
    """Source of a predicted token's mean and std; the value is the text in the panel."""

    TARGET = "mean and std of the target"
    NEIGHBOURS = "mean and std of visible neighbours"
    PREDICTED = "predicted pixels"


@dataclass(frozen=True)
class Panels:
    """Image panels of B clips.

    Attributes:
        grid: Token grid of the clips.
        video: (B, T, H, W, 3) uint8 input.
        seen: (B, T, H, W, 3) uint8 pixels of the visible tokens; the rest is grey, and blue where the encoder sees a
            mask token instead of a visible token's pixels.
        prediction: (B, T, H, W, 3) uint8 predictions of the target tokens and pixels of the visible ones.
        visible: (B, N) bool, visible tokens.
        secondary: (B, N) bool, visible tokens that the encoder sees as a mask token.
        error: (B, N) float32 loss of each target token; NaN without a prediction.
        probability: (B, N) float32 probability of being drawn first, relative to uniform sampling.
        statistics: Source of the mean and std of predicted tokens.
        prefers: Whether the sampling is not uniform; if False, the probability is 1 everywhere and is not shown.
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
    pixel_norm: PixelNormalisation | None = None,
) -> Panels:
    """Draw the panels of a forward pass.

    Args:
        video: (B, T, H, W, 3) uint8.
        prediction: (B, M, P) predictions of the target tokens.
        selection: Visible and target tokens; without log-probabilities the sampling is taken as uniform.
        token_error: (B, M).
        grid: Token grid of the clips.
        normalised: Whether the prediction is of tokens normalised by their own mean and std.
        own_statistics: Estimate mean and std from visible neighbours instead of taking them from the target.
        pixel_norm: Normalisation of the pixels, if mean and std are over all standardised values of a token; None:
            over each colour.
    """
    pixels = grid.patchify(video)
    visible = torch.zeros(pixels.shape[:2], dtype=torch.bool).scatter(1, selection.visible, True)
    if not normalised:
        statistics = Statistics.PREDICTED
    else:
        statistics = Statistics.NEIGHBOURS if own_statistics else Statistics.TARGET
    guess = _to_unit_range(prediction, pixels, selection, grid, statistics, pixel_norm)
    shown = torch.full_like(pixels, MASKED_GREY)
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
    pixel_norm: PixelNormalisation | None,
) -> Tensor:
    """(B, M, P) predicted pixels, where 0 is black and 1 is white; values may lie outside this range."""
    if statistics is Statistics.PREDICTED:
        return prediction.float()
    mean, std = token_statistics(pixels, pixel_norm)
    if statistics is Statistics.NEIGHBOURS:
        mean, std = (
            neighbour_average(values, selection.read_tokens(grid.num_tokens), selection.target, grid)
            for values in (mean, std)
        )
    else:
        mean, std = (gather_tokens(values, selection.target) for values in (mean, std))
    colours = rearrange(prediction.float(), "b m (k c) -> b m k c", c=mean.shape[-1])
    return rearrange(colours * (std + _EPSILON).unsqueeze(2) + mean.unsqueeze(2), "b m k c -> b m (k c)")


def token_statistics(pixels: Tensor, pixel_norm: PixelNormalisation | None = None) -> tuple[Tensor, Tensor]:
    """Mean and std of each token and colour: (B, N, P) uint8 to two (B, N, 3) of pixels in 0..1.

    With ``pixel_norm`` they are over all standardised values of a token, converted back to each colour's units.
    """
    if pixel_norm is not None:
        std, mean = torch.std_mean(pixel_norm(pixels).float(), dim=2, keepdim=True)
        return mean * pixel_norm.std + pixel_norm.mean, std * pixel_norm.std
    std, mean = torch.std_mean(rearrange(pixels.float() / 255, "b n (k c) -> b n k c", c=3), dim=2)
    return mean, std


def neighbour_average(values: Tensor, visible: Tensor, target: Tensor, grid: TokenGrid) -> Tensor:
    """Estimate values of target tokens from the nearest visible tokens.

    Args:
        values: (B, N, K) values of all tokens; only those of visible ones are used.
        visible: (B, V).
        target: (B, M).
        grid: The token grid. Distances are in tokens, along time as in space.

    Returns:
        (B, M, K) means over the four nearest visible tokens, weighted by the inverse square of their distance.
    """
    position = torch.cartesian_prod(torch.arange(grid.t), torch.arange(grid.h), torch.arange(grid.w)).float()
    squared = torch.cdist(position[target], position[visible]).square()
    near = squared.topk(min(NEIGHBOURS, visible.shape[1]), dim=2, largest=False)
    weight = 1 / near.values
    known = gather_tokens(values, visible)
    batch = torch.arange(len(values)).view(-1, 1, 1)
    return (known[batch, near.indices] * weight.unsqueeze(-1)).sum(dim=2) / weight.sum(dim=2, keepdim=True)
