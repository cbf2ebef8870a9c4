"""Selections with given visible tokens."""

from __future__ import annotations

from torch import Tensor

from adamae.selection import TokenSelection, complement


def seeing(visible: Tensor, num_tokens: int, log_probs: Tensor | None = None) -> TokenSelection:
    """Select ``visible`` (B, V), with all others of ``num_tokens`` as targets."""
    visible = visible.sort(dim=1).values
    return TokenSelection(visible, complement(visible, num_tokens), log_probs)
