"""A decoder that reconstructs only a random subset of the masked tokens at each step.

Let T be the M masked tokens of a clip and S a uniformly drawn subset of m of them, independent of everything that the
networks compute. Every masked token is in S with probability m / M, so for any numbers a_i that do not depend on S

    E[ (1/m) sum_{i in S} a_i ]  =  (1/M) sum_{i in T} a_i .

If a_i are the errors, this is the reconstruction loss; if a_i are log P_i times the error, it is the sampling loss, and
the same holds for the gradients. :func:`~adamae.losses.sampling.sampling_loss` has the factor of its sum.

Given each token's error, the estimate is unbiased: loss and gradient weight every masked token as if all of them were
decoded. The errors themselves differ: the decoder attends to the visible tokens and S, not T, so the expectation is
(1/M) sum_{i in T} E[a_i(S) | i in S]. The tokens missing from the attention are mask tokens, which contain nothing of
the video but their positions.

A token outside S has no error at this step and is not encoded either, so nothing else in the step depends on S. In
evaluation, which includes all figures and scores, all masked tokens are decoded.
"""

from __future__ import annotations

from adamae.randomness import SampleNoise
from adamae.selection import TokenSelection


def count_decoded(num_masked: int, budget: float) -> int:
    """Number of masked tokens to decode: ``budget * num_masked`` rounded, at least one."""
    return max(1, round(budget * num_masked))


def draw_part(selection: TokenSelection, budget: float, noise: SampleNoise) -> TokenSelection:
    """Keep a random subset of the targets.

    Args:
        selection: A selection with all M masked tokens as targets.
        budget: Fraction of the targets to keep.
        noise: Noise for the draw; the subset of a clip depends only on the clip's own noise.

    Returns:
        A selection with m ascending targets and ``num_masked`` M.
    """
    num_masked = selection.target.shape[1]
    order = noise.uniform(num_masked).topk(count_decoded(num_masked, budget), dim=1, sorted=False).indices
    part = selection.target.gather(1, order.sort(dim=1).values)
    # Not dataclasses.replace, which torch.compile of torch 2.6 cannot trace.
    return TokenSelection(selection.visible, part, selection.log_probs, num_masked, selection.secondary)
