"""Which frames are looked at, of more than are needed."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from adamae.errors import UserError
from adamae.grid import TokenGrid
from adamae.models import vit_classifier, vit_pretrainer
from adamae.randomness import SampleNoise
from adamae.samplers.frame_choice import FrameChoice, count_moving
from adamae.training.objectives import pretrain_objective
from tests.checkpoints.networks import CLASSIFIER, PRETRAIN
from tests.golden import mats

GOLDEN = mats.GOLDEN["L_frame_selection_OUR_READING"]
GRID = TokenGrid.of(16, 64, 64, 2, 16)
# 6 frames for 4, in tubelets of 2.
MORE: dict[str, Any] = {"candidate_frames": 6}


def test_counts_and_the_deterministic_choice() -> None:
    tokens, grid = mats.video_tokens(24, 64, 12)
    assert count_moving(tokens, grid, 0.3)[0].tolist() == GOLDEN["counts_c"]
    choice = FrameChoice(GRID, GOLDEN["candidate_frames"])
    assert choice.candidates.t == GOLDEN["candidate_pairs"]
    chosen = choice.choose(tokens, SampleNoise(torch.arange(1)), training=False)
    assert chosen[0].tolist() == GOLDEN["deterministic_top_tau_sorted"]
    assert torch.equal(FrameChoice(GRID, 24, rule="top").choose(tokens, mats.FormulaNoise(1), training=True), chosen)


@pytest.mark.parametrize(("rule", "training"), [("auto", True), ("draw", False)])
def test_tubelets_are_drawn_in_proportion_to_their_counts(rule: str, training: bool) -> None:
    draws = 4000
    tokens, _ = mats.video_tokens(24, 64, 12)
    # One of twelve, so that the shares are the probabilities.
    choice = FrameChoice(TokenGrid.of(2, 64, 64, 2, 16), 24, rule=rule)
    chosen = choice.choose(tokens.expand(draws, -1, -1), SampleNoise(torch.arange(draws)), training)
    expected = torch.tensor(GOLDEN["probabilities"])
    share = chosen.flatten().bincount(minlength=12) / draws
    assert ((share - expected).abs() <= 5 * (expected * (1 - expected) / draws).sqrt() + 1e-6).all()


def test_a_draw_is_without_replacement_and_in_order() -> None:
    tokens, _ = mats.video_tokens(24, 64, 12)
    choice = FrameChoice(GRID, 24)
    chosen = choice.choose(tokens.expand(50, -1, -1), SampleNoise(torch.arange(50)), training=True)
    assert (chosen.diff(dim=1) > 0).all()
    assert len({tuple(row) for row in chosen.tolist()}) > 10
    # A static clip has counts in the first tubelets alone, and enough to draw nevertheless.
    still = choice.choose(torch.ones(1, 192, 4), SampleNoise(torch.arange(1)), training=True)
    assert still.shape == (1, 8)


def test_the_chosen_frames_are_what_the_model_sees() -> None:
    torch.manual_seed(0)
    model = vit_pretrainer(**PRETRAIN, **MORE, mask_type="motion", keep_ratio=0.9).eval()
    video = torch.randint(0, 256, (3, 6, 16, 16, 3), dtype=torch.uint8)
    out = model(video, seeds=torch.arange(3))
    assert out.frames is not None
    assert out.frames.shape == (3, 4)
    short = torch.stack([clip[frames] for clip, frames in zip(video, out.frames, strict=True)])
    again = model(short, seeds=torch.arange(3))
    assert again.frames is None
    assert torch.equal(again.losses["loss"], out.losses["loss"])
    assert torch.equal(again.selection.visible, out.selection.visible)


def test_hits_are_counted_on_the_frames_that_were_looked_at() -> None:
    model = vit_pretrainer(**PRETRAIN, **MORE).train()
    batch = {
        "clip": torch.randint(0, 256, (2, 6, 16, 16, 3), dtype=torch.uint8),
        "seed": torch.arange(2),
        "motion_mask": torch.ones(2, 6, 16, 16, dtype=torch.bool),
    }
    losses = pretrain_objective(model, batch, diagnose=True)
    assert losses["hit_rate"] == 1


@pytest.mark.parametrize("strategy", ["none", "motion", "adaptive", "random"])
def test_classifiers_choose_too(strategy: str) -> None:
    model = vit_classifier(**CLASSIFIER, **MORE, token_selection=strategy)
    video = torch.randint(0, 256, (3, 6, 16, 16, 3), dtype=torch.uint8)
    assert model.train()(video, seeds=torch.arange(3)).shape == (3, 5)
    whole = model.eval()(video)
    torch.testing.assert_close(model(video[1:2]), whole[1:2])


@pytest.mark.parametrize(
    ("frames", "rule", "message"),
    [
        (12, "auto", "12 frames to choose 16 from: expected at least as many, and a multiple of tubelet_size = 2"),
        (25, "auto", "25 frames to choose 16 from: expected at least as many, and a multiple of tubelet_size = 2"),
        (24, "best", "frame_choice = 'best': expected one of auto, draw, top"),
    ],
)
def test_what_cannot_be_chosen_is_refused(frames: int, rule: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        FrameChoice(GRID, frames, rule=rule)
    assert str(caught.value) == message
