"""Which tokens a classifier keeps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from adamae.errors import UserError
from adamae.grid import TokenGrid
from adamae.randomness import SampleNoise
from adamae.samplers.token_choice import TokenChoice

GRID = TokenGrid.of(8, 32, 32, 2, 8)
TOKENS = torch.randn(3, GRID.num_tokens, 16, generator=torch.Generator().manual_seed(1))


def choose(strategy: str, ratio: float = 0.6, seeds: tuple[int, ...] = (5, 6, 7)) -> Tensor:
    torch.manual_seed(0)
    kept = TokenChoice(strategy, ratio, GRID, 16)(TOKENS[: len(seeds)], SampleNoise(torch.tensor(seeds)))
    assert isinstance(kept, Tensor)
    return kept


@pytest.mark.parametrize("strategy", ["motion", "adaptive", "random"])
@pytest.mark.parametrize(("ratio", "count"), [(0.3, 19), (0.6, 38)])
def test_a_share_is_kept_in_raster_order(strategy: str, ratio: float, count: int) -> None:
    kept = choose(strategy, ratio)
    assert kept.shape == (3, count)
    assert (kept.diff(dim=1) > 0).all()


@pytest.mark.parametrize("strategy", ["none", "motion", "adaptive", "random"])
def test_all_tokens_are_no_choice(strategy: str) -> None:
    choice = TokenChoice(strategy, 1.0, GRID, 16)
    assert not choice.active
    assert choice(TOKENS, SampleNoise(torch.arange(3))) is None


@pytest.mark.parametrize("strategy", ["motion", "adaptive"])
def test_what_looks_at_the_clip_does_not_roll_dice(strategy: str) -> None:
    assert torch.equal(choose(strategy), choose(strategy, seeds=(8, 9, 10)))
    choice = TokenChoice(strategy, 0.6, GRID, 16).train()
    assert not any(module.training for module in choice.modules())
    assert not any(parameter.requires_grad for parameter in choice.parameters())


def test_a_random_choice_is_the_samples_own() -> None:
    assert torch.equal(choose("random")[:2], choose("random", seeds=(5, 6)))
    assert not torch.equal(choose("random"), choose("random", seeds=(8, 9, 10)))


def test_the_adaptive_choice_is_that_of_the_highest_probability() -> None:
    torch.manual_seed(0)
    choice = TokenChoice("adaptive", 0.3, GRID, 16)
    assert choice.sampler is not None
    with torch.no_grad():
        probabilities = choice.sampler.eval().log_probs(TOKENS, SampleNoise(torch.arange(3)))
    expected = probabilities.topk(19, dim=1).indices.sort(dim=1).values
    assert torch.equal(choice(TOKENS, SampleNoise(torch.arange(3))), expected)


@pytest.mark.parametrize(
    ("strategy", "ratio", "message"),
    [
        ("moving", 0.6, "token_selection = 'moving': expected one of none, motion, adaptive, random"),
        ("motion", 0.0, "keep_ratio = 0.0: expected a number above 0 and at most 1"),
        ("random", 0.001, "keep_ratio = 0.001 keeps none of 64 tokens"),
    ],
)
def test_what_cannot_be_chosen_is_refused(strategy: str, ratio: float, message: str) -> None:
    with pytest.raises(UserError) as caught:
        TokenChoice(strategy, ratio, GRID, 16)
    assert str(caught.value) == message
