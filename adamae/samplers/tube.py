"""Tube masks (VideoMAE)."""

from __future__ import annotations

import torch
from torch import Tensor

from adamae.grid import TokenGrid
from adamae.randomness import SampleNoise
from adamae.samplers.sampler import Sampler, checked_count, draw_distinct


class TubeSampler(Sampler):
    """The same spatial positions are visible at all times."""

    reads_tokens = False

    def _per_frame(self, grid: TokenGrid) -> int:
        area = grid.h * grid.w
        return checked_count(area - int(self.mask_ratio * area), area, "places", self.mask_ratio)

    def num_visible(self, grid: TokenGrid) -> int:
        """V; the number of masked positions per frame is truncated: V is 160 of 1568 at a ratio of 0.9."""
        return grid.t * self._per_frame(grid)

    def draw(self, tokens: Tensor, log_probs: Tensor | None, grid: TokenGrid, noise: SampleNoise) -> Tensor:
        """(B, V) indices."""
        area = grid.h * grid.w
        places = draw_distinct(noise, area, self._per_frame(grid))
        starts = torch.arange(0, grid.num_tokens, area, device=places.device)
        return (starts.view(1, -1, 1) + places.unsqueeze(1)).flatten(1)
