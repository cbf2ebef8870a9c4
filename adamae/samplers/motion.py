"""The motion-aware sampler (MATS, of EVEREST, arXiv 2211.10636): keeps moving tokens and drops all others."""

from __future__ import annotations

import torch
from torch import Tensor

from adamae.checks import check_fraction
from adamae.errors import UserError
from adamae.grid import TokenGrid
from adamae.precision import at_least_float32
from adamae.randomness import SampleNoise
from adamae.samplers.sampler import Sampler
from adamae.selection import count_visible, rank_tokens


class MotionSampler(Sampler):
    """Keeps the tokens with the most motion in the clip and draws the visible ones from them.

    The other kept tokens are the targets. Tokens that are not kept are neither encoded nor decoded nor predicted.

    Args:
        mask_ratio: Fraction of all tokens that is not visible; 0.9 in the official code.
        keep_ratio: Fraction of all tokens that is visible or predicted; 0.3 in the official code.

    Raises:
        UserError: If a ratio is outside its range.
    """

    exact_tokens = True
    score_name = "motion score"

    def __init__(self, mask_ratio: float, keep_ratio: float = 0.3) -> None:
        super().__init__(mask_ratio)
        check_fraction("keep_ratio", keep_ratio)
        self.keep_ratio = keep_ratio

    def num_visible(self, grid: TokenGrid) -> int:
        """V = int(N * (1 - mask_ratio)): 156 of 1568 at a ratio of 0.9.

        Raises:
            UserError: If none or all of the kept tokens would be visible, or the grid has one token along time.
        """
        check_time(grid)
        visible, kept = count_visible(grid.num_tokens, self.mask_ratio), count_kept(grid.num_tokens, self.keep_ratio)
        if not 0 < visible < kept:
            raise UserError(
                f"mask_ratio = {self.mask_ratio} with keep_ratio = {self.keep_ratio} leaves {visible} of {kept} kept "
                f"tokens visible: expected at least 1 and at most {kept - 1}"
            )
        return visible

    def preference(self, tokens: Tensor, log_probs: Tensor | None, grid: TokenGrid) -> Tensor:
        """(B, N) logarithms of the motion scores divided by their sum in the clip; uniform if nothing moves."""
        scores = motion_scores(tokens, grid)
        return (scores + torch.finfo(scores.dtype).tiny).log().log_softmax(dim=1)

    def draw(self, tokens: Tensor, log_probs: Tensor | None, grid: TokenGrid, noise: SampleNoise) -> Tensor:
        """(B, V) indices, every subset of the kept tokens equally likely."""
        kept = rank_tokens(motion_scores(tokens, grid), count_kept(grid.num_tokens, self.keep_ratio))
        order = noise.uniform(kept.shape[1]).argsort(dim=1, stable=True)
        return kept.gather(1, order[:, : self.num_visible(grid)])

    def targets(self, tokens: Tensor, visible: Tensor, grid: TokenGrid) -> Tensor:
        """(B, K - V) ascending indices of the tokens with the most motion among those that are not visible.

        V is :meth:`num_visible`, also where another number of visible tokens is given: the number of targets does not
        depend on it.
        """
        count = count_kept(grid.num_tokens, self.keep_ratio) - self.num_visible(grid)
        scores = motion_scores(tokens, grid).scatter(1, visible, -torch.inf)
        return rank_tokens(scores, count).sort(dim=1).values


@torch.no_grad()
def motion_scores(tokens: Tensor, grid: TokenGrid) -> Tensor:
    """L2 norm of the difference between each token and the one at the same position one tubelet earlier.

    Tokens of the first time get the score of their successor, so ties are common.

    Args:
        tokens: (B, N, D) from the tokenizer, without positions. Half precision would change which tokens rank highest.
        grid: The token grid.

    Returns:
        (B, N), at least float32, without a gradient.
    """
    tokens = tokens.to(at_least_float32(tokens.dtype)).unflatten(1, (grid.t, -1))
    change = (tokens[:, 1:] - tokens[:, :-1]).norm(dim=-1)
    return torch.cat((change[:, :1], change), dim=1).flatten(1)


def count_kept(num_tokens: int, keep_ratio: float) -> int:
    """K = int(N * ratio), where the ratio is 1 minus the dropped fraction as in the official code."""
    return count_visible(num_tokens, 1 - keep_ratio)


def check_time(grid: TokenGrid) -> None:
    """Check that motion can be measured on the grid.

    Raises:
        UserError: If the grid has only one token along time.
    """
    if grid.t < 2:
        raise UserError(
            f"motion cannot be measured within {grid.t * grid.tubelet_size} frames in tubelets of {grid.tubelet_size}: "
            f"expected at least {2 * grid.tubelet_size} frames"
        )
