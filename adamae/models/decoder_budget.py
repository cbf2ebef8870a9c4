"""A decoder that reconstructs only a random part of the hidden tokens at each step.

Let T be the M hidden tokens of a clip and S a part of m of them, every part of that size equally likely, drawn
independently of everything the networks compute. Every hidden token is in S with probability m / M, so for any
numbers a_i that do not depend on S

    E[ (1/m) sum_{i in S} a_i ]  =  (1/M) sum_{i in T} a_i .

With the errors for a_i this is the reconstruction loss; with log P_i times the error, its gradient included, the
sampling loss. :func:`~adamae.losses.sampling.sampling_loss` has the factors of its other forms.

What is unbiased: given each token's error, loss and gradient weigh every hidden token as decoding all of them does.
What is not the same: the decoder's attention sees the visible tokens and S, not T, so the error of a token in S is
that of a decoder that had less company, and the expectation is over such errors: (1/M) sum_{i in T} E[a_i(S) | i in S].
What the company lacks are mask tokens, which know nothing of the video but their places.

A token outside S has no error at this step and is not in the encoder's view either, so nothing else in the step
depends on S. In evaluation, and so in every picture and score, all hidden tokens are decoded.
"""

from __future__ import annotations

from adamae.errors import UserError
from adamae.randomness import SampleNoise
from adamae.selection import TokenSelection


def checked_budget(budget: float) -> float:
    """``budget``, if it is a share.

    Raises:
        UserError: If it is outside (0, 1].
    """
    if not 0 < budget <= 1:
        raise UserError(f"decoder_budget = {budget}: expected a number above 0 and at most 1")
    return budget


def count_decoded(num_hidden: int, budget: float) -> int:
    """How many of M hidden tokens are decoded: the nearest number to the share, two at least.

    Of a single token no error could be compared with any other, as an advantage does.
    """
    return min(num_hidden, max(2, round(budget * num_hidden)))


def draw_part(selection: TokenSelection, budget: float, noise: SampleNoise) -> TokenSelection:
    """Leave a random part of the targets.

    Args:
        selection: With all M hidden tokens as targets.
        budget: Share of them that is left.
        noise: What is drawn from; a clip's part depends on its own noise alone.

    Returns:
        The same with m targets, ascending, that know of how many they were drawn.
    """
    num_hidden = selection.target.shape[1]
    order = noise.uniform(num_hidden).topk(count_decoded(num_hidden, budget), dim=1, sorted=False).indices
    part = selection.target.gather(1, order.sort(dim=1).values)
    # Not dataclasses.replace, which the compiler of torch 2.6 cannot follow.
    return TokenSelection(selection.visible, part, selection.log_probs, num_hidden, selection.secondary)
