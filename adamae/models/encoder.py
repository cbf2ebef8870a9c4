"""What an encoder states, so that samplers, decoders and heads can be put around it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from adamae.errors import UserError
from adamae.grid import TokenGrid
from adamae.layers.tokenizer import Tokenizer
from adamae.randomness import SampleNoise
from adamae.samplers.sampler import Sampler
from adamae.selection import TokenSelection, is_among

Tokens = Literal["all", "visible"]


class Encoder(nn.Module, ABC):
    """From the tokens of a clip to their features.

    The tokens are those of ``grid``: the units that a sampler chooses from and a decoder predicts. An encoder may cut
    them into smaller patches and keep its features in a layout of its own.

    Args:
        grid: The clip's tokens.
        patch_embed: From a token's pixels to what a sampler looks at and the encoder reads.
        in_chans: Colour channels.
        embed_dim: Width D of the features.
        depth: Layers of blocks: that of a parameter in ``blocks.i`` is i + 1 for layer decay.

    Attributes:
        family: Its kind of networks, see :mod:`adamae.models.families`; empty: networks with it cannot be built from
            a checkpoint alone.
        first_layer: Published names of its parameters that belong to the first layer, beside those of ``patch_embed``,
            for layer decay.
        takes: What it can be given: "all" tokens of a clip, the "visible" ones alone, or either.
    """

    family: ClassVar[str] = ""
    first_layer: ClassVar[tuple[str, ...]] = ()
    takes: ClassVar[frozenset[Tokens]] = frozenset({"all", "visible"})

    def __init__(self, grid: TokenGrid, patch_embed: Tokenizer, *, in_chans: int, embed_dim: int, depth: int) -> None:
        super().__init__()
        self.grid = grid
        self.patch_embed = patch_embed
        self.in_chans = in_chans
        self.embed_dim = embed_dim
        self.depth = depth

    @abstractmethod
    def forward(self, seen: Tensor, noise: SampleNoise, selection: TokenSelection | None = None) -> Tensor:
        """Encode.

        Args:
            seen: (B, V, D') tokens from ``patch_embed`` without positions, in the order of ``selection.visible``.
            noise: What dropout, stochastic depth and the like draw from.
            selection: Which tokens of the grid these are; None: all of them.

        Returns:
            (B, V, D) in the same order; an encoder that merges tokens gives its own layout of features, which the
            ``encoder_to_decoder`` of a pre-train model or the pooling of a classifier has to fit.
        """

    @abstractmethod
    def recompute_blocks(self, active: bool) -> None:
        """Whether blocks keep nothing but their input for the backward pass, and compute the rest again."""

    @property
    def feature_grid(self) -> tuple[int, int, int]:
        """Features of a whole clip along time, height and width."""
        return self.grid.t, self.grid.h, self.grid.w

    @property
    def position_grid(self) -> tuple[int, int, int]:
        """Entries of a learned table of positions along time, height and width."""
        return self.grid.t, self.grid.h, self.grid.w

    def check_sampler(self, sampler: Sampler) -> None:
        """Raise a UserError unless it can be given the tokens that ``sampler`` chooses."""
        self.check_takes("visible")

    def learn_secondary_token(self) -> None:
        """Add the parameter that stands for visible tokens in ``selection.secondary``.

        Raises:
            UserError: If it has no such token.
        """
        raise UserError(f"{type(self).__name__} has no token for secondary masks: expected secondary_mask_ratio = 0")

    def with_secondary_tokens(self, seen: Tensor, token: Tensor | None, selection: TokenSelection) -> Tensor:
        """``seen`` (B, V, D') with ``token`` (1, 1, D') in the place of those in ``selection.secondary``.

        Nothing of their values is left, not even what is not finite.
        """
        if selection.secondary is None or token is None:
            return seen
        replaced = is_among(selection.visible, selection.secondary, self.grid.num_tokens)
        return torch.where(replaced.unsqueeze(2), token.to(seen.dtype), seen)

    def check_takes(self, tokens: Tokens) -> None:
        """Raise a UserError unless it can be given ``tokens``."""
        if tokens not in self.takes:
            known = " or ".join(sorted(self.takes))
            raise UserError(f"{type(self).__name__} cannot encode {tokens} tokens, expected {known} tokens")
