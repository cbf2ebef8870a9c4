"""A decoder that reconstructs a part of the masked tokens: in expectation over the draw nothing is missing."""

from __future__ import annotations

from itertools import combinations
from math import comb
from typing import Any

import pytest
import torch

from adamae.errors import UserError
from adamae.losses.sampling import sampling_loss
from adamae.models import vit_pretrainer
from adamae.models.decoder_budget import count_decoded, draw_part
from adamae.randomness import SampleNoise
from adamae.selection import TokenSelection
from tests.models.test_pretrainer import TINY, clips
from tests.selecting import seeing


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("drawn", [1, 2, 3, 5])
def test_over_all_parts_the_sampling_loss_and_its_gradient_are_the_full_ones(reduction: Any, drawn: int) -> None:
    logits = torch.randn(2, 8, dtype=torch.float64, requires_grad=True)
    error = torch.rand(2, 8, dtype=torch.float64)
    visible = torch.rand(2, 8).topk(3).indices

    def loss(chosen: tuple[int, ...] | None) -> tuple[torch.Tensor, torch.Tensor]:
        selection = seeing(visible, 8, logits.log_softmax(1))
        if chosen is not None:
            target = selection.target[:, list(chosen)]
            selection = TokenSelection(selection.visible, target, selection.log_probs, num_masked=5)
        value = sampling_loss(selection, error.gather(1, selection.target), reduction=reduction, entropy_weight=0.1)
        return value.detach(), torch.autograd.grad(value, logits)[0]

    values, gradients = zip(*[loss(part) for part in combinations(range(5), drawn)], strict=True)
    value, gradient = loss(None)
    expected = torch.zeros((), dtype=torch.float64)
    for clip in range(2):
        probabilities = logits[clip].detach().softmax(0)
        masked = sorted(set(range(8)) - set(visible[clip].tolist()))
        terms = probabilities[masked].log() * error[clip, masked]
        expected -= (terms.sum() / (5 if reduction == "mean" else 1)) / 2
        expected += 0.1 * (probabilities * probabilities.log()).sum() / 2
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(torch.stack(values).mean(), value)
    torch.testing.assert_close(torch.stack(gradients).mean(0), gradient)
    if drawn < 5:
        assert max(abs(each - value) for each in values) > 1e-3, "single parts differ, or nothing was tested"


def test_every_part_is_equally_likely() -> None:
    draws = 20_000
    visible = torch.tensor([[1, 4]]).expand(draws, -1)
    first = int(torch.randint(2**30, ()))
    print(f"first seed {first}")
    part = draw_part(seeing(visible, 7), 0.4, SampleNoise(torch.arange(first, first + draws)))
    assert part.num_masked == 5 and part.target.shape == (draws, 2)
    assert bool((part.target[:, 1:] > part.target[:, :-1]).all())
    _, counts = (part.target[:, 0] * 10 + part.target[:, 1]).unique(return_counts=True)
    assert len(counts) == comb(5, 2)
    expected = draws / comb(5, 2)
    # 9 degrees of freedom: above 33.7 once in ten thousand runs.
    assert float(((counts - expected) ** 2 / expected).sum()) < 33.7


def test_the_part_is_never_empty() -> None:
    assert [count_decoded(10, budget) for budget in (0.01, 0.25, 0.5, 0.94, 0.96, 1.0)] == [1, 2, 5, 9, 10, 10]
    assert count_decoded(1, 0.5) == 1


def test_a_model_in_training_decodes_a_part_and_in_evaluation_all() -> None:
    model = vit_pretrainer(**TINY, decoder_budget=0.5)
    video, seeds = clips(2), torch.tensor([5, 6])
    out = model.train()(video, seeds=seeds)
    masked = model.grid.num_tokens - out.selection.visible.shape[1]
    assert out.prediction.shape[1] == out.token_error.shape[1] == masked // 2
    assert out.selection.num_masked == masked
    for visible, target in zip(out.selection.visible.tolist(), out.selection.target.tolist(), strict=True):
        assert not set(visible) & set(target)
    assert model.eval()(video, seeds=seeds).prediction.shape[1] == masked


def test_a_clip_has_the_same_part_in_every_batch_and_another_at_the_next_step() -> None:
    model = vit_pretrainer(**TINY, decoder_budget=0.3)
    video = clips(4)
    together = model(video, seeds=torch.arange(4)).selection.target
    assert torch.equal(together[2:], model(video[2:], seeds=torch.tensor([2, 3])).selection.target)
    assert not torch.equal(together[2:], model(video[2:], seeds=torch.tensor([7, 8])).selection.target)


@pytest.mark.parametrize("mask_type", ["learnable", "tube", "motion"])
def test_the_reconstruction_loss_is_the_full_one_in_expectation(mask_type: str) -> None:
    """With a decoder whose attention is off a token's error does not depend on the others, so it can be compared."""
    model = vit_pretrainer(**{**TINY, "sampler_drop_rate": 0.0, "keep_ratio": 0.8}, mask_type=mask_type).train()
    for block in model.decoder.blocks:
        torch.nn.init.zeros_(block.attn.proj.weight)
    video = clips(1)
    # Prescribed, so that only the part varies with the seed.
    visible = torch.rand(1, model.grid.num_tokens).topk(model.sampler.num_visible(model.grid)).indices
    with torch.no_grad():
        full = model(video, visible).losses
        model.decoder_budget = 0.25
        draws = 400
        losses = model(video.expand(draws, -1, -1, -1, -1), visible.expand(draws, -1), torch.arange(draws))
    each = losses.token_error.mean(dim=1)
    # Five standard errors: missed once in a million runs.
    assert abs(each.mean() - full["reconstruction"]) < 5 * each.std() / draws**0.5
    assert each.std() > 0


@pytest.mark.parametrize("budget", [0.0, -0.5, 1.5])
def test_a_budget_is_a_share(budget: float) -> None:
    with pytest.raises(UserError, match=f"decoder_budget = {budget}: expected a number above 0 and at most 1"):
        vit_pretrainer(**TINY, decoder_budget=budget)
