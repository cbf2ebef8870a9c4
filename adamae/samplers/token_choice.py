"""Which tokens a classifier looks at: the same strategies as in pre-training, without anything to predict."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from adamae.errors import UserError
from adamae.grid import TokenGrid
from adamae.randomness import SampleNoise
from adamae.samplers.adaptive import AdaptiveSampler, Network
from adamae.samplers.motion import check_time, checked_keep_ratio, count_kept, motion_scores

TokenStrategy = Literal["none", "motion", "adaptive", "random"]
# The sampler's blocks draw nothing here and its own draw is not used, so that this number has no consequence.
_ANY_MASK_RATIO = 0.5


class TokenChoice(nn.Module):
    """Keeps a share of each clip's tokens for the encoder.

    "motion" keeps those that change most, "adaptive" those to which the learned sampler of an AdaMAE gives the highest
    probability; both depend on the clip alone. "random" is the control and depends on the clip's noise.

    Args:
        strategy: "none", "motion", "adaptive" or "random".
        keep_ratio: Share of the tokens that is kept; 0.6 in the published motion-aware fine-tuning.
        grid: The clip's tokens.
        embed_dim: Width of the tokens.
        mlp_ratio: Of the sampler, for "adaptive", as are the following three.
        network: "mha" or "mlp".
        depth: Blocks.
        dim: Width; None is the tokens' own.

    Raises:
        UserError: If the strategy is unknown, or the share keeps no token.
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
        if strategy not in get_args(TokenStrategy):
            raise UserError(f"token_selection = {strategy!r}: expected one of {', '.join(get_args(TokenStrategy))}")
        self.strategy = strategy
        self.grid = grid
        self.num_kept = count_kept(grid.num_tokens, checked_keep_ratio(keep_ratio))
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
            # A choice has no gradient: the sampler stays as it was pre-trained.
            self.sampler = sampler.requires_grad_(False)
        self.eval()

    @property
    def active(self) -> bool:
        """Whether any token is left out."""
        return self.strategy != "none" and self.num_kept < self.grid.num_tokens

    @property
    def published_names(self) -> list[tuple[str, str]]:
        """How published checkpoints call its parameters: (prefix here, prefix among the encoder's)."""
        return [(f"sampler.{ours}", theirs) for ours, theirs in AdaptiveSampler.published_names]

    @property
    def exact_tokens(self) -> bool:
        """Whether the choice needs tokens in full precision where the networks compute in half."""
        return self.active and self.strategy == "motion"

    def train(self, mode: bool = True) -> TokenChoice:
        """Nothing: the sampler has learned already, so it never drops out."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, tokens: Tensor, noise: SampleNoise) -> Tensor | None:
        """Choose.

        Args:
            tokens: (B, N, D) without positions.
            noise: What "random" draws from.

        Returns:
            (B, K) int64 ascending indices; None for all tokens.
        """
        if not self.active:
            return None
        # Of equal scores the higher index wins, unlike in pre-training: the golden logits of an independent run of the
        # published code ask for it, and its first two times always tie.
        rising = self._scores(tokens, noise).argsort(dim=1, stable=True)
        return rising[:, -self.num_kept :].sort(dim=1).values

    def _scores(self, tokens: Tensor, noise: SampleNoise) -> Tensor:
        if self.strategy == "motion":
            return motion_scores(tokens, self.grid)
        if self.sampler is not None:
            return self.sampler.log_probs(tokens, noise)
        return noise.uniform(self.grid.num_tokens)
