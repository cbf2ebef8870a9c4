"""The contract that every way of choosing tokens keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

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
        published_names: How published checkpoints call its parameters: (prefix here, prefix inside their encoder).
        recompute: Keep nothing but the tokens for the backward pass, and compute the rest again; of no effect where
            nothing is learned.
        exact_tokens: Whether the choice needs tokens in full precision where the networks compute in half.
        teaches_tokenizer: Whether a loss on the choice has a gradient with respect to the tokens.
    """

    learns: ClassVar[bool] = False
    published_names: ClassVar[tuple[tuple[str, str], ...]] = ()
    recompute = False
    exact_tokens = False
    teaches_tokenizer = False

    def __init__(self, mask_ratio: float) -> None:
        super().__init__()
        if not 0 < mask_ratio < 1:
            raise UserError(f"mask_ratio = {mask_ratio}: expected a number between 0 and 1, both excluded")
        self.mask_ratio = mask_ratio

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
        log_probs = self.log_probs(tokens, noise.child(0))
        if visible is None:
            visible = self.draw(tokens, log_probs, grid, noise.child(1))
        visible = visible.sort(dim=1).values
        return TokenSelection(visible, self.targets(tokens, visible, grid), log_probs)

    def log_probs(self, tokens: Tensor, noise: SampleNoise) -> Tensor | None:
        """(B, N) log-probabilities of a learned distribution; None where nothing is learned."""
        return None

    @abstractmethod
    def draw(self, tokens: Tensor, log_probs: Tensor | None, grid: TokenGrid, noise: SampleNoise) -> Tensor:
        """(B, V) int64 indices of distinct visible tokens, in any order."""

    def targets(self, tokens: Tensor, visible: Tensor, grid: TokenGrid) -> Tensor:
        """(B, M) int64 ascending indices of what is to be predicted."""
        return complement(visible, grid.num_tokens)

    @abstractmethod
    def num_visible(self, grid: TokenGrid) -> int:
        """V, the number of visible tokens on a grid."""


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
