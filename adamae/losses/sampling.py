"""The sampling loss L_S, which trains the adaptive sampler."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from adamae.checks import check_choice
from adamae.errors import UserError
from adamae.selection import TokenSelection

Reduction = Literal["mean", "sum"]
Reward = Literal["error", "progress"]
REDUCTIONS: tuple[str, ...] = get_args(Reduction)
REWARDS: tuple[str, ...] = get_args(Reward)


def sampling_loss(
    selection: TokenSelection,
    reward: Tensor,
    *,
    reduction: Reduction = "mean",
    entropy_weight: float = 0.0,
) -> Tensor:
    """Increase the probability of tokens with a high reward, in the paper the reconstruction error.

    Equation 5 of the paper: L_S = - sum over targets i of log P_i * L_R,i, with the error L_R,i as a reward
    without gradient. The official code, with which the published weights were trained, takes the mean over the targets.

    Probabilities are clamped to [eps, 1 - eps] of their dtype before the logarithm, as in torch's Categorical, which
    the official code uses; a clamped token gets no gradient.

    If the targets are a random subset S of m of the M masked tokens T (:mod:`adamae.models.decoder_budget`), the result
    is an unbiased estimate of the loss over all of them, given their errors L_i and with l_i = log P_i. The mean over
    S needs no factor: E[(1/m) sum_S l_i L_i] = (1/M) sum_T l_i L_i. The sum is M times the mean.

    Args:
        selection: Must have ``log_probs``.
        reward: (B, M) reward of each target token: its error L_R, or another number of any sign.
        reduction: "mean" over the targets (official code) or "sum" (paper).
        entropy_weight: Weight of an entropy bonus against collapse of the distribution (not in the paper).

    Returns:
        0-dim mean over the batch.

    Raises:
        UserError: If the reduction is unknown, or there is not one reward for each target token.
    """
    check_choice("reduction", reduction, REDUCTIONS)
    if reward.shape != selection.target.shape:
        raise UserError(
            f"got rewards {tuple(reward.shape)}, expected {tuple(selection.target.shape)}, one for each target"
        )
    assert selection.log_probs is not None, "the sampler has no parameters and so no sampling loss"
    eps = torch.finfo(selection.log_probs.dtype).eps
    log_probs = selection.log_probs.clamp(math.log(eps), math.log1p(-eps))
    weighted = log_probs.gather(1, selection.target) * reward.detach()
    loss = -(weighted.mean(dim=1) if reduction == "mean" else weighted.sum(dim=1)).mean()
    if reduction == "sum" and selection.num_masked:
        loss = loss * (selection.num_masked / selection.target.shape[1])
    if entropy_weight:
        loss = loss - entropy_weight * entropy(selection.log_probs).mean()
    return loss


def entropy(log_probs: Tensor) -> Tensor:
    """Entropy in nats of each clip's distribution: (B, N) to (B,). It is log N for a uniform distribution."""
    return -(log_probs.exp() * log_probs).sum(dim=1)
