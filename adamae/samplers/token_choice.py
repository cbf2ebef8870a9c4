"""Token selection for classifiers: the strategies of pre-training, without target tokens."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from adamae.checks import check_choice, check_fraction
from adamae.errors import UserError
from adamae.grid import TokenGrid
from adamae.randomness import SampleNoise
from adamae.samplers.adaptive import AdaptiveSampler, Network
from adamae.samplers.motion import check_time, count_kept, motion_scores

TokenStrategy = Literal["none", "motion", "adaptive", "random"]
# AdaptiveSampler requires a mask ratio, but only its log-probabilities are used here: the value has no effect.
_ANY_MASK_RATIO = 0.5


class TokenChoice(nn.Module):
    """Keeps a fraction of each clip's tokens for the encoder.

    "motion" keeps the tokens with the most motion, "adaptive" those with the highest probability of an AdaMAE's learned
    sampler; both depend on the clip only. "random" is the baseline and depends on the clip's noise.

    Args:
        strategy: "none", "motion", "adaptive" or "random".
        keep_ratio: Fraction of tokens to keep; 0.6 in the official code of motion-aware fine-tuning.
        grid: The clip's token grid.
        embed_dim: Width of the tokens.
        mlp_ratio: Hidden width of the sampler's MLPs over its width. This and the following are for "adaptive".
        network: The sampler's network, "mha" or "mlp".
        depth: Blocks of the sampler.
        dim: Width of the sampler; None: that of the tokens.

    Raises:
        UserError: If the strategy is unknown, or the ratio keeps no token.
    """

    def __init__(
        self,
        strategy: str,
        keep_ratio: float,
        grid: TokenGrid,
        embed_dim: int,
        *,
        mlp_ratio: float = 4.0,
        network: Network = "mha",
        depth: int = 1,
        dim: int | None = None,
    ) -> None:
        super().__init__()
        check_choice("token_selection", strategy, get_args(TokenStrategy))
        self.strategy = strategy
        self.grid = grid
        check_fraction("keep_ratio", keep_ratio)
        self.num_kept = count_kept(grid.num_tokens, keep_ratio)
        if strategy == "motion":
            check_time(grid)
        if strategy != "none" and not self.num_kept:
            raise UserError(f"keep_ratio = {keep_ratio} keeps none of {grid.num_tokens} tokens")
        self.sampler = None
        if strategy == "adaptive":
            sampler = AdaptiveSampler(
                _ANY_MASK_RATIO,
                grid.num_tokens,
                embed_dim,
                network=network,
                depth=depth,
                dim=dim,
                mlp_ratio=mlp_ratio,
            )
            # The selection has no gradient, so the pre-trained sampler is frozen.
            self.sampler = sampler.requires_grad_(False)
        self.eval()

    @property
    def active(self) -> bool:
        """Whether any token is dropped."""
        return self.strategy != "none" and self.num_kept < self.grid.num_tokens

    @property
    def published_names(self) -> list[tuple[str, str]]:
        """Names of the parameters in published checkpoints: (prefix here, prefix inside their encoder)."""
        return [(f"sampler.{ours}", theirs) for ours, theirs in AdaptiveSampler.published_names]

    @property
    def exact_tokens(self) -> bool:
        """Whether the selection needs tokens in full precision when the networks compute in half precision."""
        return self.active and self.strategy == "motion"

    def train(self, mode: bool = True) -> TokenChoice:
        """Stay in evaluation mode: the sampler is not trained, so its dropout is off."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, tokens: Tensor, noise: SampleNoise) -> Tensor | None:
        """Select the tokens to keep.

        Args:
            tokens: (B, N, D) without positions.
            noise: Noise for "random".

        Returns:
            (B, K) int64 ascending indices; None for all tokens.
        """
        if not self.active:
            return None
        # On ties the higher index is kept, unlike in pre-training. The golden logits from an independent run of the
        # official code require this: scores of the first two times are always equal.
        rising = self._scores(tokens, noise).argsort(dim=1, stable=True)
        return rising[:, -self.num_kept :].sort(dim=1).values

    def _scores(self, tokens: Tensor, noise: SampleNoise) -> Tensor:
        if self.strategy == "motion":
            return motion_scores(tokens, self.grid)
        if self.sampler is not None:
            return self.sampler.log_probs(tokens, noise)
        return noise.uniform(self.grid.num_tokens)
