"""The reconstruction error on moving tokens: the same masks for all networks, and errors of the right tokens."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest
import torch

from adamae.samplers.hit_rate import MOVING_SHARE
from tests.checkpoints.networks import pretrainer


@pytest.fixture
def script() -> ModuleType:
    return importlib.import_module("reconstruction_error")


def test_errors_are_those_of_moving_and_of_still_targets(script: ModuleType) -> None:
    torch.manual_seed(0)
    clips, seeds = torch.randint(0, 256, (3, 4, 16, 16, 3), dtype=torch.uint8), torch.tensor([4, 5, 6])
    moving = torch.zeros(3, 4, 16, 16, dtype=torch.bool)
    # All of the token in the first corner, and too little of its neighbour; the second clip stands still.
    moving[::2, :2, :8, :8] = True
    moving[::2, :2, 0, 8 : 8 + int(8 * MOVING_SHARE)] = True
    model = pretrainer(normalize_target=False)
    sums = script.region_errors(model, 0.5, clips, moving, seeds)
    out = model(clips, seeds=seeds)
    on_corner = (out.selection.target == 0) & torch.tensor([[True], [False], [True]])
    assert 0 < on_corner.sum() == sums["moving 0.5 tokens"]
    assert sums["moving 0.5 tokens"] + sums["still 0.5 tokens"] == 3 * 4
    torch.testing.assert_close(sums["moving 0.5"], out.token_error[on_corner].sum())
    torch.testing.assert_close(sums["still 0.5"], out.token_error[~on_corner].sum())


def test_all_networks_see_the_same_tokens(script: ModuleType) -> None:
    clips, seeds = torch.zeros(2, 4, 16, 16, 3, dtype=torch.uint8), torch.tensor([1, 2])
    seen = []
    for mask_type in ("learnable", "tube", "motion"):
        # Motion masks alone would leave out targets.
        model = pretrainer(mask_type=mask_type, mask_ratio=0.75, keep_ratio=0.5)
        script.region_errors(model, 0.5, clips, torch.zeros(2, 4, 16, 16).bool(), seeds)
        seen.append(model(clips, seeds=seeds).selection)
        assert seen[-1].target.shape == (2, 4)
    assert all(torch.equal(each.visible, seen[0].visible) for each in seen)
