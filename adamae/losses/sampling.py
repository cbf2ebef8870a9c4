"""The sampling loss L_S: which tokens were hard to predict?"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from adamae.selection import TokenSelection

Reduction = Literal["mean", "sum"]


def sampling_loss(
    selection: TokenSelection,
    token_error: Tensor,
    *,
    reduction: Reduction = "mean",
    advantage: bool = False,
    entropy_weight: float = 0.0,
) -> Tensor:
    """Raise the probability of tokens that were badly predicted.

    Equation 5 of the paper: L_S = - sum over targets i of log P_i * L_R,i, with the error L_R,i as a reward
    that carries no gradient. The published code, and so its weights, takes the mean over the targets.

    Probabilities are clamped to [eps, 1 - eps] of their dtype before the logarithm, as torch's Categorical does
    and with it the published code; a clamped token gets no gradient.

    Args:
        selection: Needs ``log_probs``.
        token_error: (B, M) error of each target token.
        reduction: "mean" over the targets (the code) or "sum" (the paper).
        advantage: Reward by the error minus the clip's mean error (not in the paper).
        entropy_weight: Weight of the distribution's entropy as a reward against collapse (not in the paper).

    Returns:
        0-dim mean over the batch.
    """
    assert selection.log_probs is not None, "the sampler learns nothing, so it has no sampling loss"
    eps = torch.finfo(selection.log_probs.dtype).eps
    log_probs = selection.log_probs.clamp(math.log(eps), math.log1p(-eps))
    reward = token_error.detach()
    if advantage:
        reward = reward - reward.mean(dim=1, keepdim=True)
    weighted = log_probs.gather(1, selection.target) * reward
    loss = -(weighted.mean(dim=1) if reduction == "mean" else weighted.sum(dim=1)).mean()
    if entropy_weight:
        loss = loss - entropy_weight * entropy(selection.log_probs).mean()
    return loss


def entropy(log_probs: Tensor) -> Tensor:
    """Entropy in nats of each clip's distribution: (B, N) to (B,). Uniform gives log N."""
    return -(log_probs.exp() * log_probs).sum(dim=1)
