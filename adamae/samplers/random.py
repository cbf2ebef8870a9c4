"""Random masks: tokens anywhere."""

from __future__ import annotations

from torch import Tensor

from adamae.grid import TokenGrid
from adamae.randomness import SampleNoise
from adamae.samplers.sampler import Sampler, checked_count, draw_distinct


class RandomSampler(Sampler):
    """Any token, everywhere equally likely."""

    reads_tokens = False

    def num_visible(self, grid: TokenGrid) -> int:
        """N - int(ratio * N): the published generators truncate the number of hidden tokens."""
        total = grid.num_tokens
        return checked_count(total - int(self.mask_ratio * total), total, "tokens", self.mask_ratio)

    def draw(self, tokens: Tensor, log_probs: Tensor | None, grid: TokenGrid, noise: SampleNoise) -> Tensor:
        """(B, V) indices."""
        return draw_distinct(noise, grid.num_tokens, self.num_visible(grid))
