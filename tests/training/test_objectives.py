from __future__ import annotations

import pytest
import torch

from adamae.grid import TokenGrid
from adamae.samplers.hit_rate import count_hits
from adamae.training.objectives import DIAGNOSES, pretrain_objective
from tests.selecting import seeing
from tests.training.tiny_run import tiny_model


def test_hits_counted_by_hand() -> None:
    grid = TokenGrid.of(2, 8, 8, tubelet_size=2, patch_size=4)  # one by two by two tokens of 32 values
    moving = torch.zeros(2, 2, 8, 8, dtype=torch.bool)
    moving[0, :, :4, :4] = True  # token 0 of clip 0 moves, and token 3 by a tenth
    moving[0, 0, 7, 4:] = True
    moving[1, 0, 0, 4:7] = True  # token 1 of clip 1 is only touched: 3 of 32
    selection = seeing(torch.tensor([[0, 2], [1, 3]]), 4)
    hits, expected = count_hits(selection, moving, grid)
    assert hits.tolist() == [1.0, 0.0]
    assert expected.tolist() == [1.0, 0.0]


def test_a_sampler_that_prefers_nothing_hits_as_often_as_chance() -> None:
    grid = TokenGrid.of(4, 32, 32, tubelet_size=2, patch_size=4)
    moving = torch.zeros(200, 4, 32, 32, dtype=torch.bool)
    moving[:, :, :, 8:16] = True
    order = torch.rand(200, grid.num_tokens, generator=torch.Generator().manual_seed(0)).argsort(dim=1)
    hits, expected = count_hits(seeing(order[:, :12], grid.num_tokens), moving, grid)
    assert (hits.sum() / expected.sum()).item() == pytest.approx(1.0, abs=0.1)


def test_the_objective_names_its_parts() -> None:
    noise = torch.Generator().manual_seed(0)
    batch = {
        "clip": torch.randint(256, (3, 8, 16, 16, 3), dtype=torch.uint8, generator=noise),
        "seed": torch.arange(3),
        "motion_mask": torch.rand(3, 8, 16, 16, generator=noise) < 0.2,
    }
    model = tiny_model()
    plain = pretrain_objective(model, batch, diagnose=False)
    assert plain.keys() == {"loss", "reconstruction", "sampling"}
    assert [name for name, value in plain.items() if value.requires_grad] == ["loss"]
    watched = pretrain_objective(model, batch, diagnose=True)
    assert watched.keys() == {*plain, "trivial", "entropy", "top_tenth", "hit_rate"}
    assert watched.keys() - plain.keys() == set(DIAGNOSES)
    assert torch.equal(watched["loss"], plain["loss"])
    del batch["motion_mask"]
    assert "hit_rate" not in pretrain_objective(model, batch, diagnose=True)
