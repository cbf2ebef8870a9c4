"""Samplers: counts, shapes of what is chosen, and the adaptive draw's distribution."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch

from adamae.errors import UserError
from adamae.grid import TokenGrid
from adamae.models import Pretrainer
from adamae.models.decoder import Decoder
from adamae.models.vit_encoder import VitEncoder
from adamae.randomness import SampleNoise
from adamae.samplers import SAMPLERS, Declaration, build_sampler
from adamae.samplers.adaptive import AdaptiveSampler
from adamae.samplers.sampler import Sampler

GRID = TokenGrid.of(16, 224, 224, 2, 16)


def choose(mask_type: str, ratio: float, grid: TokenGrid = GRID, batch: int = 3) -> torch.Tensor:
    sampler = build_sampler(mask_type, ratio, grid, 16)
    selection = sampler(torch.randn(batch, grid.num_tokens, 16), grid, SampleNoise(torch.arange(batch)))
    assert selection.visible.shape[1] == sampler.num_visible(grid)
    return selection.visible


@pytest.mark.parametrize(
    ("mask_type", "ratio", "count"),
    [
        ("learnable", 0.95, 78),
        ("learnable", 0.9, 156),
        ("tube", 0.9, 160),
        ("random", 0.9, 157),
        ("random", 0.75, 392),
        ("frame", 0.875, 196),
    ],
)
def test_numbers_of_visible_tokens_are_the_published_ones(mask_type: str, ratio: float, count: int) -> None:
    assert choose(mask_type, ratio).shape == (3, count)


def test_tubes_are_the_same_places_at_all_times() -> None:
    visible = choose("tube", 0.9).view(3, GRID.t, -1) % (GRID.h * GRID.w)
    assert torch.equal(visible, visible[:, :1].expand_as(visible))


def test_frames_are_whole() -> None:
    visible = choose("frame", 0.5)
    times = visible // (GRID.h * GRID.w)
    assert all(len(row.unique()) == 4 for row in times)


@pytest.mark.parametrize("mask_type", SAMPLERS)
def test_every_clip_chooses_for_itself_and_the_same_in_any_batch(mask_type: str) -> None:
    torch.manual_seed(0)
    sampler = build_sampler(mask_type, 0.75, GRID, 16).eval()
    tokens = torch.randn(3, GRID.num_tokens, 16)
    together = sampler(tokens, GRID, SampleNoise(torch.tensor([5, 6, 7]))).visible
    alone = sampler(tokens[1:2], GRID, SampleNoise(torch.tensor([6]))).visible
    assert torch.equal(together[1:2], alone)
    assert not torch.equal(together[0], together[1])


@pytest.mark.parametrize("mask_type", SAMPLERS)
def test_only_samplers_that_say_so_read_tokens(mask_type: str, rng: np.random.Generator) -> None:
    sampler = build_sampler(mask_type, 0.75, GRID, 16).eval()
    noise, tokens = SampleNoise(torch.arange(3)), torch.from_numpy(rng.normal(size=(3, GRID.num_tokens, 16))).float()
    choices = [sampler(given, GRID, noise) for given in (tokens, torch.full_like(tokens, torch.nan))]
    if not sampler.reads_tokens:
        wide = torch.full((3, GRID.num_tokens, 1536), torch.nan)
        choices.append(sampler(wide, GRID, noise))
    same = all(torch.equal(each.visible, choices[0].visible) for each in choices)
    assert sampler.reads_tokens != same == (mask_type in ("random", "tube", "frame", "uniform"))


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.5, 95, float("nan")])
@pytest.mark.parametrize("mask_type", SAMPLERS)
def test_ratios_outside_are_refused(mask_type: str, ratio: float) -> None:
    with pytest.raises(UserError, match="between 0 and 1"):
        build_sampler(mask_type, ratio, GRID, 16)


@pytest.mark.parametrize("mask_type", SAMPLERS)
def test_ratios_that_leave_nothing_are_refused(mask_type: str) -> None:
    ratio = 0.9999 if mask_type == "learnable" else 0.0001
    with pytest.raises(UserError, match=r"leaves \d+ of \d+|expected 0.75"):
        build_sampler(mask_type, ratio, GRID, 16)


def test_a_width_below_the_number_of_heads_is_refused() -> None:
    with pytest.raises(UserError, match="sampler_dim 7: expected at least 8, one for each attention head"):
        AdaptiveSampler.build(0.5, GRID, 16, sampler_dim=7)
    with pytest.raises(UserError, match="sampler_dim 4: expected at least 8"):
        AdaptiveSampler(0.5, 8, 4)
    assert AdaptiveSampler(0.5, 8, 4, network="mlp").network


def test_unknown_names_are_listed() -> None:
    with pytest.raises(UserError, match="'tubes': expected one of learnable, random"):
        build_sampler("tubes", 0.9, GRID, 16)


class Given(Sampler):
    """Gives what it was made with."""

    def __init__(self, drawn: torch.Tensor, count: int) -> None:
        super().__init__(0.5)
        self.drawn, self.count = drawn, count

    def num_visible(self, grid: TokenGrid) -> int:
        return self.count

    def draw(self, tokens: torch.Tensor, log_probs: object, grid: TokenGrid, noise: SampleNoise) -> torch.Tensor:
        return self.drawn


FEW = TokenGrid.of(4, 16, 16, 2, 8)
IDS = torch.tensor([[5, 0, 7], [1, 6, 2]])


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (IDS[:1], r"got \(1, 3\) torch.int64, expected \(2, {}\){} torch.int64, indices of tokens"),
        (IDS.repeat(2, 1), r"got \(4, 3\) torch.int64, expected \(2, {}\){} torch.int64"),
        (IDS[0], r"got \(3,\) torch.int64, expected \(2, {}\){} torch.int64"),
        (torch.arange(8).expand(2, 8), r"got \(2, 8\) torch.int64, expected \(2, {}\){} torch.int64"),
        (IDS.float(), r"got \(2, 3\) torch.float32, expected \(2, {}\){} torch.int64"),
        (torch.ones(2, 8) > 0, r"got \(2, 8\) torch.bool, expected \(2, {}\){} torch.int64"),
        (IDS.tolist(), r"got list, expected \(2, {}\){} torch.int64"),
        (IDS + 1, "got index 8, expected 0 to 7"),
        (IDS - 2, "got index -2, expected 0 to 7"),
        (torch.tensor([[5, 0, 7], [2, 6, 2]]), "got token 2 more than once for clip 1, expected distinct indices"),
    ],
)
@pytest.mark.parametrize("drawn", [True, False])
def test_what_is_no_selection_of_tokens_is_refused(ids: torch.Tensor, message: str, drawn: bool) -> None:
    sampler, inputs = Given(ids, 3), (torch.zeros(2, 8, 4), FEW, SampleNoise(torch.arange(2)))
    words = ("Given.draw", "3", "") if drawn else ("visible", "V", " with V below 8")
    with pytest.raises(UserError, match=f"^{words[0]}: {message.format(*words[1:])}"):
        sampler(*inputs) if drawn else sampler(*inputs, visible=ids)


def test_other_numbers_of_tokens_may_be_given_and_none_drawn() -> None:
    sampler, inputs = Given(IDS[:, :2], 3), (torch.zeros(2, 8, 4), FEW, SampleNoise(torch.arange(2)))
    with pytest.raises(UserError, match=r"^Given.draw: got \(2, 2\) torch.int64, expected \(2, 3\) torch.int64"):
        sampler(*inputs)
    selection = sampler(*inputs, visible=IDS[:, :2].int())
    assert selection.visible.dtype == torch.int64
    assert selection.visible.tolist() == [[0, 5], [1, 6]] and selection.target.shape == (2, 6)


@pytest.mark.parametrize("count", [0, 8, 9])
def test_a_sampler_that_leaves_nothing_is_refused(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    message = f"^Given leaves {count} of 8 tokens visible: expected at least 1 and at most 7$"
    monkeypatch.setattr(Given, "build", classmethod(lambda kind, ratio, grid, embed_dim: kind(IDS, count)))
    monkeypatch.setitem(SAMPLERS, "given", Declaration("given", Given, ""))
    with pytest.raises(UserError, match=message):
        build_sampler("given", 0.5, FEW, 4)
    encoder, decoder = (
        VitEncoder(FEW, embed_dim=8, depth=1, num_heads=2),
        Decoder(FEW, 384, embed_dim=8, depth=1, num_heads=2),
    )
    with pytest.raises(UserError, match=message):
        Pretrainer(encoder, Given(IDS, count), decoder)


def inclusion(probabilities: torch.Tensor, draws: int) -> torch.Tensor:
    """Exact probability that each item is among ``draws`` drawn one after another without replacement."""
    result = torch.zeros_like(probabilities)
    for order in permutations(range(len(probabilities)), draws):
        probability, left = 1.0, 1.0
        for item in order:
            probability *= float(probabilities[item]) / left
            left -= float(probabilities[item])
        result[list(order)] += probability
    return result


def test_the_draw_is_without_replacement_from_the_stated_distribution() -> None:
    draws = 20_000
    grid = TokenGrid.of(2, 8, 12, 2, 4)
    sampler = AdaptiveSampler(0.5, grid.num_tokens, 8)
    probabilities = torch.tensor([0.4, 0.25, 0.2, 0.1, 0.04, 0.01])
    seeds = torch.randint(2**30, ()) + torch.arange(draws)
    print("first seed", int(seeds[0]))
    log_probs = probabilities.log().expand(draws, -1)
    visible = sampler.draw(torch.empty(0), log_probs, grid, SampleNoise(seeds))
    assert visible.shape == (draws, 3)
    counts = torch.zeros(draws, 6).scatter_(1, visible, 1)
    assert (counts.sum(dim=1) == 3).all()
    expected = inclusion(probabilities.double(), 3)
    deviation = (expected * (1 - expected) / draws).sqrt()
    assert ((counts.double().mean(dim=0) - expected).abs() < 5 * deviation).all()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"sampler_network": "mlp"},
        {"sampler_depth": 2},
        {"sampler_dim": 8},
        {"sampler_network": "mlp", "sampler_dim": 8, "sampler_depth": 2},
    ],
)
def test_every_network_gives_a_distribution_and_gradients(options: dict[str, Any]) -> None:
    grid = TokenGrid.of(4, 8, 8, 2, 4)
    sampler = build_sampler("learnable", 0.5, grid, 16, **options)
    tokens = torch.randn(2, grid.num_tokens, 16, requires_grad=True)
    selection = sampler(tokens, grid, SampleNoise(torch.arange(2)))
    assert selection.log_probs is not None
    torch.testing.assert_close(selection.log_probs.exp().sum(dim=1), torch.ones(2))
    selection.log_probs[:, 0].sum().backward()
    assert tokens.grad is None  # detached, as the paper says
    assert all(parameter.grad is not None for parameter in sampler.parameters())
