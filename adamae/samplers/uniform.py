"""Uniform masks: one visible token in each cell, with all positions equally frequent (UM-MAE, arXiv 2205.10063)."""

from __future__ import annotations

from torch import Tensor

from adamae.grid import TokenGrid
from adamae.randomness import SampleNoise
from adamae.samplers.cells import CellSampler, balanced_choices, pool_rows


class UniformSampler(CellSampler):
    """Draws positions without replacement from a pool in which each is equally frequent, as in the official code.

    Each position is visible with the same probability. The cells are not quite independent of each other.

    Args:
        mask_ratio: See :class:`~adamae.samplers.cells.CellSampler`.
        uniform_sampling: "tube", "step" or "octet".
        secondary_mask_ratio: Fraction of the visible tokens that the encoder sees as a mask token.
    """

    reads_tokens = False

    def __init__(self, mask_ratio: float, uniform_sampling: str = "tube", secondary_mask_ratio: float = 0.25) -> None:
        super().__init__(mask_ratio, uniform_sampling, secondary_mask_ratio)

    def draw(self, tokens: Tensor, log_probs: Tensor | None, grid: TokenGrid, noise: SampleNoise) -> Tensor:
        """(B, V) indices."""
        times, rows, columns = self.pattern.cells(grid)
        # One pool for each time; with "tube" one for all times.
        pools = 1 if self.pattern.shared_over_time else times
        order = noise.uniform(pools, pool_rows(self.pattern.size, rows * columns)).argsort(dim=2, stable=True)
        choice = balanced_choices(order, self.pattern.size, rows * columns)
        choice = choice.expand(-1, times, -1).flatten(1)
        table = self.pattern.tokens(grid, choice.device).expand(choice.shape[0], -1, -1)
        return table.gather(2, choice.unsqueeze(2)).squeeze(2)
