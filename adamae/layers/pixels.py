"""Pixel normalisation and patchifying of clips."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from adamae.grid import TokenGrid
from adamae.imagenet import IMAGENET_MEAN, IMAGENET_STD

INCEPTION_MEAN = INCEPTION_STD = (0.5, 0.5, 0.5)


def pixel_statistics(channels: int = 3, imagenet: bool = True) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and std of each channel; see :class:`PixelNormalisation`."""
    mean: tuple[float, ...] = IMAGENET_MEAN if imagenet else INCEPTION_MEAN
    std: tuple[float, ...] = IMAGENET_STD if imagenet else INCEPTION_STD
    if channels != 3:
        mean, std = (sum(mean) / 3,) * channels, (sum(std) / 3,) * channels
    return mean, std


class PixelNormalisation(nn.Module):
    """Standardises uint8 pixels, and maps standardised values back to the unit range.

    Works on any tensor whose last axis contains complete pixels with the colour fastest: a channels-last clip
    (B, T, H, W, C) as well as patchified tokens (B, N, P).

    Args:
        channels: Colour channels. If not three, each channel uses the mean over the three colours.
        imagenet: Use ImageNet's mean and std, as the published checkpoints expect; else 0.5 and 0.5.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int = 3, imagenet: bool = True) -> None:
        super().__init__()
        mean, std = pixel_statistics(channels, imagenet)
        # Not in the state dict: published checkpoints have no such entry.
        self.register_buffer("mean", torch.tensor(mean), persistent=False)
        self.register_buffer("std", torch.tensor(std), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Uint8 (..., k * C) to float (..., k * C), standardised per channel."""
        scaled = self._per_channel(pixels).to(self.mean.dtype)
        return torch.addcmul(-self.mean / self.std, scaled, 1 / (255 * self.std)).view(pixels.shape)

    def to_unit_range(self, pixels: Tensor) -> Tensor:
        """Standardised (..., k * C) to values where 0 is black and 1 is white."""
        return torch.addcmul(self.mean.to(pixels), self._per_channel(pixels), self.std.to(pixels)).view(pixels.shape)

    def _per_channel(self, pixels: Tensor) -> Tensor:
        return pixels.reshape(*pixels.shape[:-1], -1, self.mean.numel())


def frames_in(video: Tensor) -> int:
    """Number of frames of raw clips (B, T, H, W, C) uint8, or standardised ones (B, C, T, H, W) float."""
    return video.shape[1 if video.dtype == torch.uint8 else 2]


def cut_pixels(video: Tensor, grid: TokenGrid, pixel_values: PixelNormalisation) -> Tensor:
    """Patchify raw or standardised clips into the standardised pixels (B, N, P) of their tokens.

    Raises:
        UserError: If the clips' shape does not match the grid.
    """
    if video.dtype == torch.uint8:
        # Patchify before the conversion to float: a quarter of the memory traffic.
        return pixel_values(grid.patchify(video))
    return grid.patchify(rearrange(video, "b c t h w -> b t h w c"))
