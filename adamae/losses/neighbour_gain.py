"""A reward for visible tokens (not in the paper): how much better their neighbours are predicted than trivially.

The paper rewards masked tokens with a high error, whether or not seeing them would help to predict others, so it also
rewards noise. Here visible tokens are rewarded for the prediction of their neighbours. Let g_i be the trivial error of
target token i minus its error, and A(v) the target tokens next to the visible token v. The reward and the loss are

    r_v = mean_{i in A(v)} g_i,    L = - mean_v log P_v (r_v - mean_v r_v),

an estimate of the policy gradient for the drawn tokens, with the clip's mean as baseline.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from adamae.grid import TokenGrid
from adamae.selection import TokenSelection


def neighbour_gain_loss(selection: TokenSelection, gain: Tensor, grid: TokenGrid) -> Tensor:
    """Increase the probability of visible tokens whose neighbours have a high gain.

    Args:
        selection: Must have ``log_probs``.
        gain: (B, M) gain of each target token; no gradient passes through it.
        grid: The token grid.

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
        values: (B, M) values of the target tokens.
        grid: The token grid; neighbours are at most one step away along each of time, height and width.

    Returns:
        (B, V) means; 0 if no neighbour is a target.
    """
    empty = values.new_zeros(len(values), grid.num_tokens)
    sums = _box(empty.scatter(1, selection.target, values), grid)
    counts = _box(empty.scatter(1, selection.target, torch.ones_like(values)), grid)
    around = sums / counts.round().clamp_min(1)
    return around.gather(1, selection.visible)


def _box(values: Tensor, grid: TokenGrid) -> Tensor:
    """(B, N) sums over each token and its neighbours."""
    # Pad first: pooling raises an error if the grid is smaller than the kernel.
    volume = F.pad(values.view(-1, 1, grid.t, grid.h, grid.w), (1, 1, 1, 1, 1, 1))
    return 27 * F.avg_pool3d(volume, kernel_size=3, stride=1).flatten(1)
