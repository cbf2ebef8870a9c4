"""Adaptive masks on cells: a learned sampler draws the visible token of each cell (not in any paper)."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from adamae.errors import UserError
from adamae.grid import TokenGrid
from adamae.randomness import SampleNoise
from adamae.samplers.adaptive import AdaptiveSampler
from adamae.samplers.cells import CellSampler
from adamae.samplers.sampler import draw_gumbel


class AdaptiveUniformSampler(CellSampler):
    """P = softmax over the tokens of a cell, and one token drawn from each cell.

    The encoder keeps the regular grid of uniform masks, and the sampler learns which position of a cell to keep
    visible. The cells are sampled independently, so the log-probability of a selection is the sum over cells. At
    initialisation all positions are equally likely. With "tube" the logits of a position are averaged over the times.

    Args:
        mask_ratio: See :class:`~adamae.samplers.cells.CellSampler`.
        uniform_sampling: "tube", "step" or "octet".
        secondary_mask_ratio: Fraction of the visible tokens that the encoder sees as a mask token.
        grid: The model's token grid.
        network: Computes the logits; its own mask ratio has no effect.
    """

    learns = True

    def __init__(
        self,
        mask_ratio: float,
        uniform_sampling: str,
        secondary_mask_ratio: float,
        grid: TokenGrid,
        network: AdaptiveSampler,
    ) -> None:
        super().__init__(mask_ratio, uniform_sampling, secondary_mask_ratio)
        self.grid = grid
        self.scorer = network
        self.teaches_tokenizer = network.teaches_tokenizer
        score = network.network[-1]
        assert isinstance(score, nn.Linear)
        for parameter in score.parameters():
            nn.init.zeros_(parameter)

    @classmethod
    def build(
        cls,
        mask_ratio: float,
        grid: TokenGrid,
        embed_dim: int,
        *,
        uniform_sampling: str = "tube",
        secondary_mask_ratio: float = 0.25,
        **network: Any,
    ) -> AdaptiveUniformSampler:
        """Build the sampler from a model's keywords; ``network`` are those of the adaptive sampler."""
        scorer = AdaptiveSampler.build(mask_ratio, grid, embed_dim, **network)
        return cls(mask_ratio, uniform_sampling, secondary_mask_ratio, grid, scorer)

    @classmethod
    def keywords(cls) -> dict[str, Any]:
        """Own keywords and those of the network."""
        return super().keywords() | AdaptiveSampler.keywords()

    def check_fits(self, grid: TokenGrid, embed_dim: int) -> None:
        """See :meth:`~adamae.samplers.sampler.Sampler.check_fits`."""
        super().check_fits(grid, embed_dim)
        if self.grid != grid:
            raise UserError(f"the sampler's tokens are {self.grid}: expected the encoder's, {grid}")
        self.scorer.check_shape(grid, embed_dim)

    def log_probs(self, tokens: Tensor, noise: SampleNoise) -> Tensor:
        """(B, N) log-probabilities of each token within its cell."""
        self.scorer.recompute = self.recompute
        logits = self.scorer.logits(tokens, noise)
        if self.pattern.shared_over_time:
            logits = logits.unflatten(1, (self.grid.t, -1))
            logits = logits.mean(dim=1, keepdim=True).expand_as(logits).flatten(1)
        return self._by_token(self._by_cell(logits, self.grid).log_softmax(dim=2), self.grid)

    def draw(self, tokens: Tensor, log_probs: Tensor | None, grid: TokenGrid, noise: SampleNoise) -> Tensor:
        """(B, V) indices: the largest of log p + Gumbel noise in each cell is a sample of that cell's distribution."""
        assert log_probs is not None
        area = grid.h * grid.w
        gumbel = draw_gumbel(noise, area if self.pattern.shared_over_time else grid.num_tokens)
        gumbel = gumbel.repeat(1, grid.num_tokens // gumbel.shape[1])
        keys = log_probs.detach() + gumbel
        choice = self._by_cell(keys, grid).argmax(dim=2, keepdim=True)
        table = self.pattern.tokens(grid, choice.device).expand(choice.shape[0], -1, -1)
        return table.gather(2, choice).squeeze(2)

    def preference(self, tokens: Tensor, log_probs: Tensor | None, grid: TokenGrid) -> Tensor | None:
        """(B, N) logarithms of probabilities divided by the number of cells, so that they add up to one."""
        return None if log_probs is None else log_probs - math.log(self.num_visible(grid))

    def max_entropy(self, grid: TokenGrid) -> float:
        """Entropy of one uniform draw per cell; with "tube" as if the draws of all times were independent."""
        return self.num_visible(grid) * math.log(self.pattern.size)

    def _by_cell(self, values: Tensor, grid: TokenGrid) -> Tensor:
        """(B, N) to (B, cells, K)."""
        order = self.pattern.tokens(grid, values.device)
        return values[:, order.flatten()].unflatten(1, tuple(order.shape))

    def _by_token(self, values: Tensor, grid: TokenGrid) -> Tensor:
        """(B, cells, K) to (B, N): the inverse of :meth:`_by_cell`."""
        order = self.pattern.tokens(grid, values.device).flatten()
        return values.flatten(1)[:, order.argsort()]
