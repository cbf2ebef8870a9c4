"""Hit rate of a sampler on moving regions relative to uniform sampling, for clips with a motion mask."""

from __future__ import annotations

from torch import Tensor

from adamae.grid import TokenGrid
from adamae.selection import TokenSelection

# A token is moving if at least this fraction of its pixels, over all its frames, is in the motion mask. An object that
# only touches a corner of a token does not count.
MOVING_SHARE = 0.1


def count_hits(selection: TokenSelection, moving: Tensor, grid: TokenGrid) -> tuple[Tensor, Tensor]:
    """Count the visible tokens on moving regions, and the expected count under uniform sampling.

    The hit rate of a batch is the sum of the former over the sum of the latter: 1 for uniform sampling.

    Args:
        selection: The selection for B clips.
        moving: (B, T, H, W) bool motion mask (ground truth).
        grid: The clips' token grid.

    Returns:
        Two (B,) float tensors, so that confidence intervals over clips can be computed.
    """
    share = grid.patchify(moving.unsqueeze(-1)).float().mean(dim=2)
    moves = (share >= MOVING_SHARE).float()
    hits = moves.gather(1, selection.visible).sum(dim=1)
    return hits, moves.mean(dim=1) * selection.visible.shape[1]
