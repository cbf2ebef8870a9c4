"""Models put together from parts: an encoder of another kind fits without an edit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from adamae.errors import UserError
from adamae.grid import TokenGrid
from adamae.layers.tokenizer import TubeletTokenizer
from adamae.models import Classifier, Pretrainer
from adamae.models.decoder import Decoder
from adamae.models.encoder import Encoder
from adamae.models.pretrainer import new_mask_token
from adamae.randomness import SampleNoise
from adamae.samplers import build_sampler
from adamae.samplers.adaptive import AdaptiveSampler
from adamae.samplers.frame_choice import FrameChoice
from adamae.samplers.token_choice import TokenChoice
from adamae.selection import TokenSelection
from adamae.training.parameter_groups import parameter_groups

GRID = TokenGrid.of(4, 16, 16, 2, 8)


class Pooled(Encoder):
    """Two layers on narrow tokens, wider features, and one feature for two neighbours in the sequence."""

    def __init__(self, grid: TokenGrid) -> None:
        super().__init__(grid, TubeletTokenizer(2, 8, 3, 12), in_chans=3, embed_dim=20, depth=2)
        self.blocks = nn.Sequential(nn.Linear(12, 12), nn.Linear(12, 20))
        self.recompute = False

    def forward(self, seen: Tensor, noise: SampleNoise, selection: TokenSelection | None = None) -> Tensor:
        return self.blocks(seen).unflatten(1, (-1, 2)).mean(dim=2)

    def recompute_blocks(self, active: bool) -> None:
        self.recompute = active


class Expand(nn.Linear):
    """One feature back to two tokens."""

    def forward(self, features: Tensor, selection: TokenSelection) -> Tensor:
        return super().forward(features).repeat_interleave(2, dim=1)


class AllTokens(Pooled):
    takes = frozenset({"all"})


def pretrainer(encoder: Encoder, grid: TokenGrid = GRID) -> Pretrainer:
    decoder = Decoder(grid, 384, embed_dim=8, depth=1, num_heads=2)
    return Pretrainer(encoder, build_sampler("random", 0.5, GRID, 12), decoder, encoder_to_decoder=Expand(20, 8))


def test_an_encoder_of_another_kind_pre_trains_and_classifies() -> None:
    model = pretrainer(Pooled(GRID))
    clips = torch.randint(0, 256, (3, 4, 16, 16, 3), dtype=torch.uint8)
    out = model(clips, seeds=torch.arange(3))
    out.losses["loss"].backward()
    assert out.prediction.shape == (3, 4, 384)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.encoder.parameters())
    model.checkpoint_activations("all")
    assert isinstance(model.encoder, Pooled) and model.encoder.recompute

    classifier = Classifier(model.encoder, nn.Linear(20, 5))
    assert classifier(clips).shape == (3, 5)
    names = set(classifier.state_dict())
    assert {"patch_embed.proj.weight", "blocks.0.weight", "fc_norm.weight", "head.weight"} <= names
    groups = parameter_groups(classifier, 0.05, layer_decay=0.5, depth=classifier.encoder.depth)
    scales = {name: group["lr_scale"] for group in groups for name in group["names"]}
    assert scales["patch_embed.proj.weight"] == 0.5**3
    assert (scales["blocks.0.weight"], scales["blocks.1.weight"], scales["head.weight"]) == (0.25, 0.5, 1)
    other = Classifier(Pooled(GRID), nn.Linear(20, 5))
    other.load_state_dict(classifier.state_dict())
    assert torch.equal(other(clips), classifier(clips))


def test_parts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match="AllTokens cannot encode visible tokens, expected all tokens"):
        pretrainer(AllTokens(GRID))
    with pytest.raises(UserError, match="cannot encode visible tokens"):
        Classifier(AllTokens(GRID), token_choice=TokenChoice("random", 0.5, GRID, 12))
    Classifier(AllTokens(GRID))
    with pytest.raises(UserError, match="the decoder's tokens are"):
        pretrainer(Pooled(GRID), TokenGrid.of(4, 24, 16, 2, 8))


WRONG_SAMPLERS = {
    "positions": (lambda: AdaptiveSampler(0.5, 16, 12), "the sampler takes 16 tokens of width 12: expected the enc"),
    "width": (lambda: AdaptiveSampler(0.5, 8, 16), "takes 8 tokens of width 16: expected the encoder's, 8 of width 12"),
    "cells": (
        lambda: build_sampler("adaptive_uniform", None, TokenGrid(2, 2, 4, 2, 8), 12),
        "the sampler's tokens are TokenGrid.*w=4.*: expected the encoder's, TokenGrid",
    ),
    "width of cells": (lambda: build_sampler("adaptive_uniform", None, GRID, 16), "takes 8 tokens of width 16"),
}


@pytest.mark.parametrize("case", WRONG_SAMPLERS)
def test_samplers_of_other_tokens_are_refused(case: str) -> None:
    make, message = WRONG_SAMPLERS[case]
    with pytest.raises(UserError, match=message):
        Pretrainer(Pooled(GRID), make(), Decoder(GRID, 384, embed_dim=8, depth=1, num_heads=2))


def test_decoders_of_other_pixels_and_widths_are_refused() -> None:
    encoder, sampler = Pooled(GRID), build_sampler("random", 0.5, GRID, 12)
    with pytest.raises(UserError, match="the decoder predicts 100 values of a token: expected 384"):
        Pretrainer(encoder, sampler, Decoder(GRID, 100, embed_dim=8, depth=1, num_heads=2))
    decoder = Decoder(GRID, 384, embed_dim=8, depth=1, num_heads=2)
    with pytest.raises(UserError, match=r"the mask token is \(1, 1, 20\): expected \(1, 1, 8\)"):
        Pretrainer(encoder, sampler, decoder, mask_token=new_mask_token(20))
    with pytest.raises(UserError, match=r"the tokens of selected frames are TokenGrid.*: expected the encoder's"):
        Pretrainer(encoder, sampler, decoder, frame_choice=FrameChoice(TokenGrid.of(4, 32, 16, 2, 8), 8))
    encoder.in_chans = 1
    with pytest.raises(UserError, match="the decoder predicts 384 values of a token: expected 128"):
        Pretrainer(encoder, sampler, decoder)
