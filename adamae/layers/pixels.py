"""Pixel normalisation and patchifying of clips."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn

from adamae.errors import UserError
from adamae.grid import TokenGrid
from adamae.imagenet import IMAGENET_MEAN, IMAGENET_STD
from adamae.layers.half_precision import autocasts

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
        # Not -1, which is ambiguous for an empty batch.
        channels = self.mean.numel()
        return pixels.reshape(*pixels.shape[:-1], pixels.shape[-1] // channels, channels)


def checked_grid(
    video: Tensor, grids: Sequence[TokenGrid], channels: int, dtype: torch.dtype = torch.float32
) -> TokenGrid:
    """Return the grid of raw clips (B, T, H, W, C) uint8, or standardised ones (B, C, T, H, W) float.

    Args:
        video: Clips.
        grids: Grids of the clips that are taken; they differ in their frames alone.
        channels: Colour channels C.
        dtype: Dtype of standardised clips; under autocast they may have another.

    Raises:
        UserError: If the clips have another shape or dtype.
    """
    if isinstance(video, Tensor) and video.dim() == 5 and _readable(video, dtype):
        *_, last = shape = tuple(video.shape[1:])
        raw = video.dtype == torch.uint8
        clip, colours = (shape[:-1], last) if raw else (shape[1:], shape[0])
        for grid in grids:
            if clip == grid.clip_shape and colours == channels:
                return grid
    got = f"{_name(video.dtype)} {tuple(video.shape)}" if isinstance(video, Tensor) else f"a {type(video).__name__}"
    frames = " or ".join(dict.fromkeys(str(grid.clip_shape[0]) for grid in grids))
    _, height, width = grids[0].clip_shape
    raise UserError(
        f"got clips of {got}, expected a tensor of uint8 (B, {frames}, {height}, {width}, {channels}) or of "
        f"{_name(dtype)} (B, {channels}, {frames}, {height}, {width})"
    )


def _readable(video: Tensor, dtype: torch.dtype) -> bool:
    """Whether networks with weights of ``dtype`` take clips of this dtype."""
    if video.dtype in (torch.uint8, dtype):
        return True
    # torch.compile of torch 2.6 cannot trace autocasts.
    return video.is_floating_point() and (torch.compiler.is_compiling() or autocasts(video, dtype))


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def cut_pixels(video: Tensor, grid: TokenGrid, pixel_norm: PixelNormalisation) -> Tensor:
    """Patchify raw or standardised clips of a :func:`checked_grid` into standardised pixels (B, N, P) of their tokens.

    Raises:
        UserError: If the clips' shape does not match the grid.
    """
    if video.dtype == torch.uint8:
        # Patchify before the conversion to float: a quarter of the memory traffic.
        return pixel_norm(grid.patchify(video))
    return grid.patchify(rearrange(video, "b c t h w -> b t h w c"))
