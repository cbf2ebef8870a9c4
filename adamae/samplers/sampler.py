"""The contract that every way of choosing tokens keeps."""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from adamae.errors import UserError
from adamae.grid import TokenGrid
from adamae.randomness import SampleNoise
from adamae.selection import TokenSelection, complement


class Sampler(nn.Module, ABC):
    """Chooses the visible tokens of each clip; all the others are targets unless a subclass says otherwise.

    Args:
        mask_ratio: Share of tokens that are hidden, between 0 and 1.

    Raises:
        UserError: If the ratio is outside (0, 1).

    Attributes:
        learns: Whether :meth:`log_probs` gives a distribution, which the sampling loss then teaches.
        score_name: What pictures call :meth:`preference`.
        published_names: How published checkpoints call its parameters: (prefix here, prefix inside their encoder).
        recompute: Keep nothing but the tokens for the backward pass, and compute the rest again; of no effect where
            nothing is learned.
        exact_tokens: Whether the choice needs tokens in full precision where the networks compute in half.
        teaches_tokenizer: Whether a loss on the choice has a gradient with respect to the tokens.
        reads_tokens: Whether a method reads the tokens' values. Where none does, only the visible patches are embedded,
            and what is given as tokens (B, N, D) are the pixels (B, N, P).
    """

    learns: ClassVar[bool] = False
    score_name: ClassVar[str] = "probability"
    reads_tokens: ClassVar[bool] = True
    published_names: ClassVar[tuple[tuple[str, str], ...]] = ()
    recompute = False
    exact_tokens = False
    teaches_tokenizer = False

    def __init__(self, mask_ratio: float) -> None:
        super().__init__()
        if not 0 < mask_ratio < 1:
            raise UserError(f"mask_ratio = {mask_ratio}: expected a number between 0 and 1, both excluded")
        self.mask_ratio = mask_ratio

    @classmethod
    def build(cls, mask_ratio: float, grid: TokenGrid, embed_dim: int, **options: Any) -> Self:
        """One for a model.

        Args:
            mask_ratio: Share of tokens that are hidden.
            grid: The model's tokens.
            embed_dim: Their width.
            **options: Of :meth:`keywords`. A subclass whose constructor takes something else has a method of its own,
                with all of them as parameters.
        """
        return cls(mask_ratio, **options)

    @classmethod
    def keywords(cls) -> dict[str, Any]:
        """The keywords of a model that concern it, and their defaults."""
        handed_on = cls.build.__func__ is Sampler.build.__func__  # type: ignore[attr-defined]
        parameters = inspect.signature(cls if handed_on else cls.build).parameters.values()
        return {each.name: each.default for each in parameters if each.default is not inspect.Parameter.empty}

    def forward(
        self, tokens: Tensor, pixels: Tensor, grid: TokenGrid, noise: SampleNoise, visible: Tensor | None = None
    ) -> TokenSelection:
        """Choose.

        Args:
            tokens: (B, N, D) without positions.
            pixels: (B, N, P) standardised pixels of the same tokens.
            grid: Where the tokens lie.
            noise: What chance there is.
            visible: (B, V) a choice already made, for tests, pictures and comparisons.
        """
        log_probs = self.log_probs(tokens, noise.fold_in(0))
        if visible is None:
            visible = self.draw(tokens, log_probs, grid, noise.fold_in(1))
        visible = visible.sort(dim=1).values
        secondary = self.draw_secondary(visible, grid, noise.fold_in(2))
        return TokenSelection(visible, self.targets(tokens, visible, grid), log_probs, secondary=secondary)

    def log_probs(self, tokens: Tensor, noise: SampleNoise) -> Tensor | None:
        """(B, N) log-probabilities of a learned distribution; None where nothing is learned."""
        return None

    def preference(self, tokens: Tensor, log_probs: Tensor | None, grid: TokenGrid) -> Tensor | None:
        """What pictures show of how the choice is made.

        Args:
            tokens: (B, N, D) as for :meth:`forward`.
            log_probs: (B, N) the learned distribution, if there is one.
            grid: Where the tokens lie.

        Returns:
            (B, N) logarithms of shares that add up to one for each clip; None where no token is preferred.
        """
        return log_probs

    @abstractmethod
    def draw(self, tokens: Tensor, log_probs: Tensor | None, grid: TokenGrid, noise: SampleNoise) -> Tensor:
        """(B, V) int64 indices of distinct visible tokens, in any order."""

    def targets(self, tokens: Tensor, visible: Tensor, grid: TokenGrid) -> Tensor:
        """(B, M) int64 ascending indices of what is to be predicted."""
        return complement(visible, grid.num_tokens)

    def draw_secondary(self, visible: Tensor, grid: TokenGrid, noise: SampleNoise) -> Tensor | None:
        """(B, S) int64 ascending: which of the visible tokens (B, V) the encoder sees as a mask token; None: none."""
        return None

    @abstractmethod
    def num_visible(self, grid: TokenGrid) -> int:
        """V, the number of visible tokens on a grid."""

    def num_secondary(self, grid: TokenGrid) -> int:
        """S, how many of them the encoder sees as a mask token."""
        return 0

    def max_entropy(self, grid: TokenGrid) -> float:
        """Entropy in nats of a learned distribution that prefers nothing."""
        return math.log(grid.num_tokens)

    @classmethod
    def usual_ratio(cls, **options: Any) -> float:
        """The mask ratio of a model for which none is given.

        Args:
            **options: Of :meth:`keywords`.
        """
        return 0.95


def draw_distinct(noise: SampleNoise, total: int, count: int) -> Tensor:
    """(B, count) distinct numbers below ``total``, every subset equally likely."""
    return noise.uniform(total).topk(count, dim=1, sorted=False).indices


def draw_gumbel(noise: SampleNoise, total: int) -> Tensor:
    """(B, total) Gumbel noise: the largest of log p + noise is drawn by p, the largest V without replacement."""
    return -torch.log(-torch.log(noise.uniform(total)))


def checked_count(visible: int, total: int, what: str, mask_ratio: float) -> int:
    """``visible``, if it leaves something to see and something to predict.

    Raises:
        UserError: If none or all of ``total`` would be visible.
    """
    if not 0 < visible < total:
        raise UserError(
            f"mask_ratio = {mask_ratio} leaves {visible} of {total} {what} visible: "
            f"expected at least 1 and at most {total - 1}"
        )
    return visible
