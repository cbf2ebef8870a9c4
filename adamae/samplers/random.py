"""Random masks."""

from __future__ import annotations

from torch import Tensor

from adamae.grid import TokenGrid
from adamae.randomness import SampleNoise
from adamae.samplers.sampler import Sampler, checked_count, draw_distinct


class RandomSampler(Sampler):
    """Every subset of V tokens is equally likely to be visible."""

    reads_tokens = False

    def num_visible(self, grid: TokenGrid) -> int:
        """V = N - int(ratio * N): the official mask generators truncate the number of masked tokens."""
        total = grid.num_tokens
        return checked_count(total - int(self.mask_ratio * total), total, "tokens", self.mask_ratio)

    def draw(self, tokens: Tensor, log_probs: Tensor | None, grid: TokenGrid, noise: SampleNoise) -> Tensor:
        """(B, V) indices."""
        return draw_distinct(noise, grid.num_tokens, self.num_visible(grid))
