"""The base class of all samplers."""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from adamae.errors import UserError
from adamae.grid import TokenGrid
from adamae.layers.devices import can_read
from adamae.randomness import SampleNoise
from adamae.selection import TokenSelection, complement


class Sampler(nn.Module, ABC):
    """Selects the visible tokens of each clip; all other tokens are targets unless a subclass overrides ``targets``.

    Args:
        mask_ratio: Fraction of tokens to mask, between 0 and 1.

    Raises:
        UserError: If the ratio is outside (0, 1).

    Attributes:
        learns: Whether :meth:`log_probs` returns a distribution, which the sampling loss trains.
        score_name: Label of :meth:`preference` in figures.
        published_names: Names of the parameters in published checkpoints: (prefix here, prefix inside their encoder).
        recompute: Store only the tokens for the backward pass and recompute the rest; no effect on samplers that do not
            learn.
        exact_tokens: Whether the sampler needs tokens in full precision when the networks compute in half precision.
        teaches_tokenizer: Whether the sampling loss has a gradient with respect to the tokens.
        reads_tokens: Whether a method reads the tokens' values. If not, only the visible patches are embedded, and the
            methods get the pixels (B, N, P) instead of tokens (B, N, D).
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
        """Build the sampler for a model.

        Args:
            mask_ratio: Fraction of tokens to mask.
            grid: The model's token grid.
            embed_dim: Width of the tokens.
            **options: Options listed by :meth:`keywords`. A subclass whose constructor has other parameters overrides
                this method, with all options as named parameters.
        """
        return cls(mask_ratio, **options)

    @classmethod
    def keywords(cls) -> dict[str, Any]:
        """Return the model keywords that configure this sampler, with their defaults."""
        handed_on = cls.build.__func__ is Sampler.build.__func__  # type: ignore[attr-defined]
        parameters = inspect.signature(cls if handed_on else cls.build).parameters.values()
        return {each.name: each.default for each in parameters if each.default is not inspect.Parameter.empty}

    def forward(
        self, tokens: Tensor, grid: TokenGrid, noise: SampleNoise, visible: Tensor | None = None
    ) -> TokenSelection:
        """Select visible and target tokens.

        Args:
            tokens: (B, N, D) without positions; pixels (B, N, P) if :attr:`reads_tokens` is False.
            grid: The token grid.
            noise: The source of all random numbers.
            visible: (B, V) indices used instead of a draw, for tests, figures and comparisons.

        Raises:
            UserError: If ``visible``, or the result of :meth:`draw`, has a wrong shape or type; on a CPU also if its
                indices are repeated or out of range.
        """
        log_probs = self.log_probs(tokens, noise.fold_in(0))
        if visible is None:
            drawn = self.draw(tokens, log_probs, grid, noise.fold_in(1))
            count = self.num_visible(grid)
            visible = _ascending(f"{type(self).__name__}.draw", drawn, len(tokens), grid.num_tokens, count)
        else:
            visible = _ascending("visible", visible, len(tokens), grid.num_tokens)
        secondary = self.draw_secondary(visible, grid, noise.fold_in(2))
        return TokenSelection(visible, self.targets(tokens, visible, grid), log_probs, secondary=secondary)

    def log_probs(self, tokens: Tensor, noise: SampleNoise) -> Tensor | None:
        """(B, N) log-probabilities of a learned distribution; None if the sampler does not learn."""
        return None

    def preference(self, tokens: Tensor, log_probs: Tensor | None, grid: TokenGrid) -> Tensor | None:
        """Log-probabilities of the tokens to show in figures.

        Args:
            tokens: (B, N, D) as for :meth:`forward`.
            log_probs: (B, N) the learned distribution, if there is one.
            grid: The token grid.

        Returns:
            (B, N) logarithms of values that add up to one for each clip; None if the sampler prefers no token.
        """
        return log_probs

    @abstractmethod
    def draw(self, tokens: Tensor, log_probs: Tensor | None, grid: TokenGrid, noise: SampleNoise) -> Tensor:
        """(B, V) int64 indices of distinct visible tokens, in any order."""

    def targets(self, tokens: Tensor, visible: Tensor, grid: TokenGrid) -> Tensor:
        """(B, M) int64 ascending indices of the target tokens."""
        return complement(visible, grid.num_tokens)

    def draw_secondary(self, visible: Tensor, grid: TokenGrid, noise: SampleNoise) -> Tensor | None:
        """(B, S) int64 ascending indices of visible tokens that the encoder sees as a mask token; None: none."""
        return None

    @abstractmethod
    def num_visible(self, grid: TokenGrid) -> int:
        """V, the number of visible tokens on a grid."""

    def check_fits(self, grid: TokenGrid, embed_dim: int) -> None:
        """Raise a UserError unless it leaves visible and masked tokens on a grid and takes tokens (B, N, D).

        Args:
            grid: The model's token grid.
            embed_dim: Width D of the tokens.
        """
        visible, total = self.num_visible(grid), grid.num_tokens
        if not 0 < visible < total:
            raise UserError(
                f"{type(self).__name__} leaves {visible} of {total} tokens visible: "
                f"expected at least 1 and at most {total - 1}"
            )

    def num_secondary(self, grid: TokenGrid) -> int:
        """S, the number of visible tokens that the encoder sees as a mask token."""
        return 0

    def max_entropy(self, grid: TokenGrid) -> float:
        """Entropy in nats of the uniform distribution, the upper bound for a learned one."""
        return math.log(grid.num_tokens)

    @classmethod
    def usual_ratio(cls, **options: Any) -> float:
        """Return the default mask ratio.

        Args:
            **options: Options listed by :meth:`keywords`.
        """
        return 0.95


def draw_distinct(noise: SampleNoise, total: int, count: int) -> Tensor:
    """(B, count) distinct numbers below ``total``, every subset equally likely."""
    return noise.uniform(total).topk(count, dim=1, sorted=False).indices


def draw_gumbel(noise: SampleNoise, total: int) -> Tensor:
    """(B, total) Gumbel noise: the V largest values of log p + noise are a draw from p without replacement."""
    return -torch.log(-torch.log(noise.uniform(total)))


def checked_count(visible: int, total: int, what: str, mask_ratio: float) -> int:
    """Return ``visible`` if at least one token is visible and at least one is masked.

    Raises:
        UserError: If none or all of ``total`` would be visible.
    """
    if not 0 < visible < total:
        raise UserError(
            f"mask_ratio = {mask_ratio} leaves {visible} of {total} {what} visible: "
            f"expected at least 1 and at most {total - 1}"
        )
    return visible


def _ascending(what: str, ids: Tensor, batch: int, num_tokens: int, count: int | None = None) -> Tensor:
    """Check token indices and sort them.

    Args:
        what: Their name in error messages.
        ids: (B, V) int64 or int32.
        batch: B.
        num_tokens: N.
        count: V; None: any number below N.

    Returns:
        (B, V) int64 in ascending order.

    Raises:
        UserError: If the shape or the type is wrong; on a CPU also if an index is repeated or out of range.
    """
    right = isinstance(ids, Tensor) and ids.dtype in (torch.int64, torch.int32) and ids.dim() == 2
    if not right or len(ids) != batch or not (ids.shape[1] < num_tokens if count is None else ids.shape[1] == count):
        got = f"{tuple(ids.shape)} {ids.dtype}" if isinstance(ids, Tensor) else type(ids).__name__
        shape = f"({batch}, V) with V below {num_tokens}" if count is None else f"({batch}, {count})"
        raise UserError(f"{what}: got {got}, expected {shape} torch.int64, indices of tokens")
    ids = ids.long().sort(dim=1).values
    if ids.shape[1] and can_read(ids):
        for index in (int(ids[:, 0].min()), int(ids[:, -1].max())):
            if not 0 <= index < num_tokens:
                raise UserError(f"{what}: got index {index}, expected 0 to {num_tokens - 1}")
        repeated = ids.diff(dim=1) == 0
        if repeated.any():
            clip, position = repeated.nonzero()[0].tolist()
            raise UserError(
                f"{what}: got token {ids[clip, position]} more than once for clip {clip}, expected distinct indices"
            )
    return ids
