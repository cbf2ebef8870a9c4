"""A reward for visible tokens (not in the paper): by how much their neighbours are predicted better than trivially.

The paper rewards tokens that were hard to predict while they were hidden, whatever seeing them would have brought, so
noise pays. Here a token is rewarded for what was seen of it: let g_i be the trivial error of target token i less its
error, and A(v) the target tokens next to the visible token v. The reward and the loss are

    r_v = mean_{i in A(v)} g_i,    L = - mean_v log P_v (r_v - mean_v r_v),

an estimate of the policy gradient with the clip's mean as baseline, for tokens that were drawn.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from adamae.grid import TokenGrid
from adamae.selection import TokenSelection


def neighbour_gain_loss(selection: TokenSelection, gain: Tensor, grid: TokenGrid) -> Tensor:
    """Raise the probability of visible tokens whose neighbours gained most.

    Args:
        selection: Needs ``log_probs``.
        gain: (B, M) of each target token; no gradient passes through it.
        grid: Where the tokens lie.

    Returns:
        0-dim mean over the visible tokens of the batch.
    """
    assert selection.log_probs is not None, "the sampler has no parameters and so no sampling loss"
    reward = neighbour_mean(selection, gain.detach(), grid)
    reward = reward - reward.mean(dim=1, keepdim=True)
    return -(selection.log_probs.gather(1, selection.visible) * reward).mean()


def neighbour_mean(selection: TokenSelection, values: Tensor, grid: TokenGrid) -> Tensor:
    """Mean of the target tokens' values around each visible token.

    Args:
        selection: Visible and target tokens.
        values: (B, M).
        grid: Where they lie; neighbours are one step away along time, height, width, or several of them.

    Returns:
        (B, V); 0 where no neighbour is a target.
    """
    empty = values.new_zeros(len(values), grid.num_tokens)
    sums = _box(empty.scatter(1, selection.target, values), grid)
    counts = _box(empty.scatter(1, selection.target, torch.ones_like(values)), grid)
    around = sums / counts.round().clamp_min(1)
    return around.gather(1, selection.visible)


def _box(values: Tensor, grid: TokenGrid) -> Tensor:
    """(B, N) sums over each token and those next to it."""
    # Padded first, as pooling refuses a grid that is smaller than its kernel.
    volume = F.pad(values.view(-1, 1, grid.t, grid.h, grid.w), (1, 1, 1, 1, 1, 1))
    return 27 * F.avg_pool3d(volume, kernel_size=3, stride=1).flatten(1)
