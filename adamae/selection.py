"""Selections of visible and target tokens as sorted indices."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TokenSelection:
    """The visible and target tokens that a sampler selects for a batch of clips.

    Indices avoid the ambiguous polarity of a boolean mask. ``target`` need not be the complement of ``visible``: a
    sampler may drop tokens.

    Attributes:
        visible: (B, V) int64, ascending indices of the tokens that the encoder reads.
        target: (B, M) int64, ascending indices of the tokens that the decoder predicts.
        log_probs: (B, N) float log-probabilities with their gradient, or None if the sampler does not learn.
        num_masked: Number of masked tokens that ``target`` was drawn from uniformly; None: ``target`` has all of them.
        secondary: (B, S) int64, ascending indices of the visible tokens that the encoder sees as a learned mask token
            instead of their pixels (secondary masking); None: none.
    """

    visible: Tensor
    target: Tensor
    log_probs: Tensor | None = None
    num_masked: int | None = None
    secondary: Tensor | None = None

    def read_tokens(self, num_tokens: int) -> Tensor:
        """(B, V - S) ascending indices, below ``num_tokens``, of the visible tokens whose pixels the encoder reads."""
        if self.secondary is None:
            return self.visible
        replaced = is_among(self.visible, self.secondary, num_tokens)
        order = replaced.byte().argsort(dim=1, stable=True)[:, : self.visible.shape[1] - self.secondary.shape[1]]
        return self.visible.gather(1, order)


def complement(ids: Tensor, num_tokens: int) -> Tensor:
    """Return the (B, N - K) ascending indices of 0..N-1 that are not among the distinct ``ids`` (B, K).

    A stable sort of "is it in ids" moves the others to the front in order. A boolean index would make the host wait
    for the size of its result.
    """
    taken = torch.zeros(ids.shape[0], num_tokens, dtype=torch.uint8, device=ids.device)
    taken.scatter_(1, ids, 1)
    return taken.argsort(dim=1, stable=True)[:, : num_tokens - ids.shape[1]]


def gather_tokens(x: Tensor, ids: Tensor) -> Tensor:
    """Gather rows ``ids`` (B, K) of ``x`` (B, N, ...), as (B, K, ...)."""
    # None appends an axis without reading the shape, which would be an operation of its own in exported graphs.
    rows = ids[(..., *(None,) * (x.dim() - 2))]
    return x.gather(1, rows.expand(-1, -1, *x.shape[2:]))


def is_among(ids: Tensor, chosen: Tensor, num_tokens: int) -> Tensor:
    """(B, K) bool: whether each of ``ids`` (B, K), below ``num_tokens``, is among ``chosen`` (B, C)."""
    marked = torch.zeros(chosen.shape[0], num_tokens, dtype=torch.bool, device=chosen.device)
    return marked.scatter(1, chosen, True).gather(1, ids)


def rank_tokens(scores: Tensor, count: int) -> Tensor:
    """(B, count) indices of the highest scores (B, N) in descending order; on ties the lower index comes first."""
    return scores.argsort(dim=1, descending=True, stable=True)[:, :count]


def count_visible(num_tokens: int, mask_ratio: float) -> int:
    """V = int(N * (1 - ratio)), truncated in floating point as in the official code.

    The result depends on the order of operations: 100 tokens at a ratio of 0.8 leave 19.
    """
    return int(num_tokens * (1 - mask_ratio))
