"""Clips of a wrong shape or dtype are an error that says what the model expects."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor

from adamae.errors import UserError
from adamae.models import vit_classifier, vit_pretrainer
from tests.models.test_checkpoint_activations import CLASSIFIER
from tests.models.test_pretrainer import TINY, clips

MODELS = {"pretrainer": lambda: vit_pretrainer(**TINY), "classifier": lambda: vit_classifier(**CLASSIFIER)}
EXPECTED = "expected a tensor of uint8 (B, 4, 32, 32, 3) or of float32 (B, 3, 4, 32, 32)"


def standardised(batch: int = 2, channels: int = 3, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(batch, channels, 4, 32, 32).to(dtype)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("video", "got"),
    [
        (standardised().permute(0, 2, 3, 4, 1), "float32 (2, 4, 32, 32, 3)"),
        (clips().permute(0, 4, 1, 2, 3), "uint8 (2, 3, 4, 32, 32)"),
        (clips().long(), "int64 (2, 4, 32, 32, 3)"),
        (clips().bool(), "bool (2, 4, 32, 32, 3)"),
        (clips(channels=1), "uint8 (2, 4, 32, 32, 1)"),
        (clips(channels=6), "uint8 (2, 4, 32, 32, 6)"),
        (standardised(channels=6), "float32 (2, 6, 4, 32, 32)"),
        (clips(frames=8), "uint8 (2, 8, 32, 32, 3)"),
        (clips()[0], "uint8 (4, 32, 32, 3)"),
        (standardised()[0], "float32 (3, 4, 32, 32)"),
        (standardised(dtype=torch.float64), "float64 (2, 3, 4, 32, 32)"),
        (standardised(dtype=torch.bfloat16), "bfloat16 (2, 3, 4, 32, 32)"),
        (torch.tensor(0), "int64 ()"),
        (clips().numpy(), "a ndarray"),
        ([clips()], "a list"),
    ],
    ids=lambda value: value.replace(", ", "x") if isinstance(value, str) else "",
)
def test_other_clips_are_refused_in_one_line(name: str, training: bool, video: Any, got: str) -> None:
    model = MODELS[name]().train(training)
    with pytest.raises(UserError, match=f"^{re.escape(f'got clips of {got}, {EXPECTED}')}$"):
        model(video)


@pytest.mark.parametrize("name", MODELS)
def test_clip_shape_is_that_of_clips(name: str) -> None:
    model = MODELS[name]()
    assert model.clip_shape == (4, 32, 32, 3)
    model(torch.zeros(1, *model.clip_shape, dtype=torch.uint8))


def test_clip_shape_counts_candidate_frames() -> None:
    model = vit_pretrainer(**TINY, mask_type="motion", candidate_frames=8)
    assert model.clip_shape == (8, 32, 32, 3)
    assert model(torch.zeros(1, *model.clip_shape, dtype=torch.uint8)).frames is not None


def test_either_number_of_frames_is_named() -> None:
    model = vit_pretrainer(**TINY, mask_type="motion", candidate_frames=8)
    with pytest.raises(UserError, match=re.escape("(B, 8 or 4, 32, 32, 3) or of float32 (B, 3, 8 or 4, 32, 32)")):
        model(clips(frames=6))
    assert model(clips()).frames is None


@pytest.mark.parametrize("name", MODELS)
def test_the_dtype_of_standardised_clips_is_that_of_the_weights(name: str) -> None:
    model = MODELS[name]().double()
    model(standardised(dtype=torch.float64))
    with pytest.raises(UserError, match=r"got clips of float32 .* or of float64 \(B, 3, 4, 32, 32\)"):
        model(standardised())


def test_autocast_takes_clips_in_half_precision() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        vit_pretrainer(**TINY, mask_type="random")(standardised(dtype=torch.float16))
        with pytest.raises(UserError, match="got clips of float64"):
            vit_pretrainer(**TINY, mask_type="random")(standardised(dtype=torch.float64))


@pytest.mark.parametrize("empty", [clips(0), standardised(0)], ids=["raw", "standardised"])
def test_an_empty_batch_has_no_logits_and_no_loss(empty: Tensor) -> None:
    assert vit_classifier(**CLASSIFIER).eval()(empty).shape[0] == 0
    with pytest.raises(UserError, match=r"^got a batch of 0 clips: expected at least 1$"):
        vit_pretrainer(**TINY)(empty)
