"""Frame masks."""

from __future__ import annotations

import torch
from torch import Tensor

from adamae.grid import TokenGrid
from adamae.randomness import SampleNoise
from adamae.samplers.sampler import Sampler, checked_count, draw_distinct


class FrameSampler(Sampler):
    """Frames (tubelets along time) are completely visible or completely masked."""

    reads_tokens = False

    def _frames(self, grid: TokenGrid) -> int:
        return checked_count(grid.t - int(self.mask_ratio * grid.t), grid.t, "tubelets along time", self.mask_ratio)

    def num_visible(self, grid: TokenGrid) -> int:
        """V; the number of masked frames is truncated: a ratio of 0.875 on 8 tubelets leaves one."""
        return self._frames(grid) * grid.h * grid.w

    def draw(self, tokens: Tensor, log_probs: Tensor | None, grid: TokenGrid, noise: SampleNoise) -> Tensor:
        """(B, V) indices."""
        frames = draw_distinct(noise, grid.t, self._frames(grid))
        places = torch.arange(grid.h * grid.w, device=frames.device)
        return (frames.unsqueeze(-1) * (grid.h * grid.w) + places).flatten(1)
