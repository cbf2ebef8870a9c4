"""Selections for tests that choose the visible tokens themselves."""

from __future__ import annotations

from torch import Tensor

from adamae.selection import TokenSelection, complement


def seeing(visible: Tensor, num_tokens: int, log_probs: Tensor | None = None) -> TokenSelection:
    """See ``visible`` (B, V), predict all the others of ``num_tokens``."""
    visible = visible.sort(dim=1).values
    return TokenSelection(visible, complement(visible, num_tokens), log_probs)
