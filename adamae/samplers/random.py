"""Samplers that learn nothing: random patches, tubes and frames."""

from __future__ import annotations

import torch
from torch import Tensor

from adamae.grid import TokenGrid
from adamae.randomness import SampleNoise
from adamae.samplers.sampler import Sampler, checked_count


class RandomSampler(Sampler):
    """Any token, everywhere equally likely."""

    def num_visible(self, grid: TokenGrid) -> int:
        """N - int(ratio * N): the published generators truncate the number of hidden tokens."""
        total = grid.num_tokens
        return checked_count(total - int(self.mask_ratio * total), total, "tokens", self.mask_ratio)

    def draw(self, tokens: Tensor, log_probs: Tensor | None, grid: TokenGrid, noise: SampleNoise) -> Tensor:
        """(B, V) indices."""
        return _distinct(noise, grid.num_tokens, self.num_visible(grid))


class TubeSampler(Sampler):
    """The same places of the image at all times (VideoMAE)."""

    def _per_frame(self, grid: TokenGrid) -> int:
        area = grid.h * grid.w
        return checked_count(area - int(self.mask_ratio * area), area, "places", self.mask_ratio)

    def num_visible(self, grid: TokenGrid) -> int:
        """The hidden places are truncated per frame: 160 of 1568 at a ratio of 0.9."""
        return grid.t * self._per_frame(grid)

    def draw(self, tokens: Tensor, log_probs: Tensor | None, grid: TokenGrid, noise: SampleNoise) -> Tensor:
        """(B, V) indices."""
        area = grid.h * grid.w
        places = _distinct(noise, area, self._per_frame(grid))
        starts = torch.arange(0, grid.num_tokens, area, device=places.device)
        return (starts.view(1, -1, 1) + places.unsqueeze(1)).flatten(1)


class FrameSampler(Sampler):
    """Whole frames (tubelets) or nothing of them."""

    def _frames(self, grid: TokenGrid) -> int:
        return checked_count(grid.t - int(self.mask_ratio * grid.t), grid.t, "tubelets along time", self.mask_ratio)

    def num_visible(self, grid: TokenGrid) -> int:
        """The hidden frames are truncated: a ratio of 0.875 on 8 tubelets leaves one."""
        return self._frames(grid) * grid.h * grid.w

    def draw(self, tokens: Tensor, log_probs: Tensor | None, grid: TokenGrid, noise: SampleNoise) -> Tensor:
        """(B, V) indices."""
        frames = _distinct(noise, grid.t, self._frames(grid))
        places = torch.arange(grid.h * grid.w, device=frames.device)
        return (frames.unsqueeze(-1) * (grid.h * grid.w) + places).flatten(1)


def _distinct(noise: SampleNoise, total: int, count: int) -> Tensor:
    """(B, count) distinct numbers below ``total``, every subset equally likely."""
    return noise.uniform(total).topk(count, dim=1, sorted=False).indices
