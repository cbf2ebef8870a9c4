"""How much more often than a uniform draw a sampler chooses tokens of moving regions, where the motion is known."""

from __future__ import annotations

from torch import Tensor

from adamae.grid import TokenGrid
from adamae.selection import TokenSelection

# A token is moving when at least this share of its pixels, over all its frames, belongs to something that moved:
# an object that merely touches a corner does not make its token worth seeing.
MOVING_SHARE = 0.1


def count_hits(selection: TokenSelection, moving: Tensor, grid: TokenGrid) -> tuple[Tensor, Tensor]:
    """How many visible tokens lie on moving regions, and how many of a uniform draw would.

    Their ratio over a batch, sum over sum, is the hit rate: 1 for a sampler that prefers nothing.

    Args:
        selection: What was drawn for B clips.
        moving: (B, T, H, W) bool ground truth.
        grid: The clips' tokens.

    Returns:
        Two (B,) float tensors, so that intervals over clips can be made.
    """
    share = grid.patchify(moving.unsqueeze(-1)).float().mean(dim=2)
    moves = (share >= MOVING_SHARE).float()
    hits = moves.gather(1, selection.visible).sum(dim=1)
    return hits, moves.mean(dim=1) * selection.visible.shape[1]
