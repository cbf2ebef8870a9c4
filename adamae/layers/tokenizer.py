"""Patch embedding: pixels to tokens."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adamae.checks import check_count


class Tokenizer(nn.Module, ABC):
    """Embeds the pixels of each token, independently of all other tokens.

    Args:
        embed_dim: Width D of a token.
    """

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.embed_dim = embed_dim

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the weights."""
        for weight in self.parameters():
            return weight.dtype
        return torch.get_default_dtype()

    @abstractmethod
    def forward(self, pixels: Tensor) -> Tensor:
        """Patchified pixels (B, N, P), colour fastest, to tokens (B, N, D)."""

    def exact(self, pixels: Tensor) -> Tensor:
        """Like :meth:`forward`, but in the precision of the weights, also under autocast."""
        device = pixels.device.type
        # torch.compile of torch 2.6 cannot trace is_autocast_available, and supports no device without autocast.
        if not (torch.compiler.is_compiling() or torch.amp.is_autocast_available(device)):
            return self(pixels)
        with torch.autocast(device, enabled=False):
            return self(pixels)


class TubeletTokenizer(Tokenizer):
    """Linear projection of non-overlapping tubelets.

    The weight is stored as that of a Conv3d with kernel = stride, as in the official code, so checkpoints load. On
    patchified pixels the convolution is one matrix multiplication. ``proj`` itself is never called, so hooks on it and
    adapters in its place have no effect; they belong on the tokenizer.

    Args:
        tubelet_size: Frames in a token.
        patch_size: Pixels along a token's side.
        in_chans: Colour channels.
        embed_dim: Width D of a token.
    """

    def __init__(self, tubelet_size: int, patch_size: int, in_chans: int, embed_dim: int) -> None:
        check_count("in_chans", in_chans)
        super().__init__(embed_dim)
        kernel = (tubelet_size, patch_size, patch_size)
        self.proj = nn.Conv3d(in_chans, embed_dim, kernel_size=kernel, stride=kernel)

    def forward(self, pixels: Tensor) -> Tensor:
        """Patchified pixels (B, N, P), colour fastest, to tokens (B, N, D)."""
        matrix = self.proj.weight.permute(0, 2, 3, 4, 1).flatten(1)
        return F.linear(pixels, matrix, self.proj.bias)
