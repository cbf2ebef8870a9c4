"""The interface of encoders, so that they can be combined with samplers, decoders and heads."""

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
    """Base class of encoders, which map the tokens of a clip to features.

    The tokens are those of ``grid``: a sampler selects them and a decoder predicts them. An encoder may divide them
    into smaller patches and use another layout for its features.

    Args:
        grid: The clip's token grid.
        patch_embed: Embeds a token's pixels for the sampler and the encoder.
        in_chans: Colour channels.
        embed_dim: Width D of the features.
        depth: Number of blocks. For layer decay a parameter in ``blocks.i`` belongs to layer i + 1.

    Attributes:
        family: Name of the model family, see :mod:`adamae.models.families`; empty: models with this encoder cannot be
            built from a checkpoint alone.
        first_layer: Official names of the parameters that belong to the first layer for layer decay, in addition to
            those of ``patch_embed``.
        takes: Supported inputs: "all" tokens of a clip, the "visible" ones only, or both.
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
        """Encode tokens.

        Args:
            seen: (B, V, D') tokens from ``patch_embed`` without positions, in the order of ``selection.visible``.
            noise: Noise for dropout, stochastic depth and similar.
            selection: The selection whose visible tokens these are; None: all tokens of the grid.

        Returns:
            (B, V, D) in the same order. An encoder that merges tokens returns features in its own layout, which the
            ``encoder_to_decoder`` of a pre-train model or the pooling of a classifier must support.
        """

    @abstractmethod
    def recompute_blocks(self, active: bool) -> None:
        """Set whether blocks store only their input for the backward pass and recompute the rest."""

    @property
    def feature_grid(self) -> tuple[int, int, int]:
        """Number of features of a complete clip along time, height and width."""
        return self.grid.t, self.grid.h, self.grid.w

    @property
    def position_grid(self) -> tuple[int, int, int]:
        """Entries of a learned position embedding along time, height and width."""
        return self.grid.t, self.grid.h, self.grid.w

    def check_sampler(self, sampler: Sampler) -> None:
        """Raise a UserError unless the encoder supports the tokens that ``sampler`` selects."""
        self.check_takes("visible")

    def learn_secondary_token(self) -> None:
        """Add the mask token that replaces visible tokens in ``selection.secondary``.

        Raises:
            UserError: If the encoder does not support secondary masks.
        """
        raise UserError(f"{type(self).__name__} has no token for secondary masks: expected secondary_mask_ratio = 0")

    def with_secondary_tokens(self, seen: Tensor, token: Tensor | None, selection: TokenSelection) -> Tensor:
        """Replace the tokens of ``seen`` (B, V, D') in ``selection.secondary`` by ``token`` (1, 1, D').

        NaN or inf in the replaced tokens do not propagate.
        """
        if selection.secondary is None or token is None:
            return seen
        replaced = is_among(selection.visible, selection.secondary, self.grid.num_tokens)
        return torch.where(replaced.unsqueeze(2), token.to(seen.dtype), seen)

    def check_takes(self, tokens: Tokens) -> None:
        """Raise a UserError unless the encoder supports ``tokens``."""
        if tokens not in self.takes:
            known = " or ".join(sorted(self.takes))
            raise UserError(f"{type(self).__name__} cannot encode {tokens} tokens, expected {known} tokens")
