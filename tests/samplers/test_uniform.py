"""Uniform masks: against numbers of an independent run of the published code, and what every draw must hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from adamae.errors import UserError
from adamae.grid import TokenGrid
from adamae.randomness import SampleNoise
from adamae.samplers import build_sampler
from adamae.samplers.adaptive_uniform import AdaptiveUniformSampler
from adamae.samplers.cells import PATTERNS, CellSampler, balanced_choices, pool_rows
from adamae.samplers.uniform import UniformSampler
from adamae.selection import TokenSelection
from tests.golden import um_mae

VIDEO = TokenGrid(8, 16, 16, 2, 16)
NAMES = ("uniform", "adaptive_uniform")


def cell_sampler(name: str, grid: TokenGrid, **options: object) -> CellSampler:
    sampler = build_sampler(name, None, grid, 8, sampler_dim=8, **options)
    assert isinstance(sampler, CellSampler)
    return sampler


def drawn(sampler: CellSampler, grid: TokenGrid, seeds: Tensor) -> TokenSelection:
    anything = torch.randn(len(seeds), grid.num_tokens, 8)
    return sampler(anything, grid, SampleNoise(seeds))


def random_seeds(rng: np.random.Generator, count: int) -> Tensor:
    return torch.from_numpy(rng.integers(2**31, size=count))


@pytest.mark.parametrize("side", [4, 8, 14, 16])
def test_the_published_draw(side: int) -> None:
    golden = um_mae.GOLDEN["A_uniform_sampling_numpy_seed0"]["cases"][str(side)]
    cells = (side // 2) ** 2
    rows = pool_rows(4, cells)
    assert rows == golden["pool_rows"]
    order = np.arange(rows)
    np.random.RandomState(0).shuffle(order)
    choice = balanced_choices(torch.from_numpy(order), 4, cells)
    assert choice.tolist() == golden["cell_choice"]
    table = PATTERNS["tube"].tokens(um_mae.image_grid(side))
    visible = table.gather(1, choice.unsqueeze(1)).flatten().sort().values
    assert visible.tolist() == golden["visible_units"]
    sampler = UniformSampler(0.75)
    assert sampler.num_visible(um_mae.image_grid(side)) == golden["n_visible"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_one_of_each_cell_is_visible_and_all_equally_often(pattern: str, name: str, rng: np.random.Generator) -> None:
    grid = TokenGrid(4, 4, 4, 2, 16)
    sampler = cell_sampler(name, grid, uniform_sampling=pattern)
    visible = drawn(sampler, grid, random_seeds(rng, 4000)).visible
    cells = sampler.pattern.cell_of(grid)[visible].sort(dim=1).values
    assert (cells == torch.arange(sampler.num_visible(grid))).all()
    share = torch.zeros(4000, grid.num_tokens).scatter(1, visible, 1).mean(dim=0)
    expected = 1 / sampler.pattern.size
    # All 64 shares of 4000 draws are within 5.5 standard deviations, but for one run in 400,000.
    assert (share - expected).abs().max() < 5.5 * math.sqrt(expected * (1 - expected) / 4000)
    if pattern == "tube":
        places = visible.unflatten(1, (grid.t, -1)) % 16
        assert (places == places[:, :1]).all()
    elif pattern == "step":
        places = visible.unflatten(1, (grid.t, -1)) % 16
        assert (places != places[:, :1]).any()


@pytest.mark.parametrize("pattern", ["tube", "step"])
def test_the_token_of_a_cell_is_drawn_by_its_probability(pattern: str, rng: np.random.Generator) -> None:
    draws, grid = 20_000, TokenGrid(2, 2, 2, 2, 16)
    sampler = cell_sampler("adaptive_uniform", grid, uniform_sampling=pattern)
    probabilities = torch.tensor([0.6, 0.25, 0.1, 0.05])
    log_probs = probabilities.log().repeat(2).expand(draws, -1)
    visible = sampler.draw(torch.empty(0), log_probs, grid, SampleNoise(random_seeds(rng, draws)))
    expected = probabilities.double().repeat(2)
    shares = visible.flatten().bincount(minlength=8) / draws
    assert ((shares - expected).abs() < 5 * (expected * (1 - expected) / draws).sqrt()).all()


@pytest.mark.parametrize("side", [4, 8, 16])
def test_published_secondary_masks(side: int) -> None:
    golden = um_mae.GOLDEN["C_secondary_masking"]["cases"][str(side)]
    grid, sampler = um_mae.image_grid(side), UniformSampler(0.75)
    visible = um_mae.cell_order_units(side, 2).sort(dim=1).values
    assert visible.tolist() == golden["us_visible"]
    assert sampler.num_secondary(grid) == golden["n_sm"]
    assert sampler.num_visible(grid) - sampler.num_secondary(grid) == golden["n_true_pixels"]
    secondary = sampler.secondary_of(visible, grid, um_mae.formula_noise(2, grid.num_tokens))
    assert secondary.tolist() == golden["sm_token_units"]


def test_counts_of_other_sides() -> None:
    for side, (visible, kept) in um_mae.GOLDEN["C_secondary_masking"]["counts_for_other_M"].items():
        grid, sampler = um_mae.image_grid(int(side)), UniformSampler(0.75)
        assert (sampler.num_visible(grid), sampler.num_visible(grid) - sampler.num_secondary(grid)) == (visible, kept)


@pytest.mark.parametrize("name", NAMES)
def test_counts_on_video(name: str) -> None:
    golden = um_mae.GOLDEN["K_video_extension_counts_OWN"]
    for pattern, key in (("tube", "tube_2x2"), ("step", "tube_2x2"), ("octet", "one_of_2x2x2")):
        sampler = cell_sampler(name, VIDEO, uniform_sampling=pattern)
        visible, secondary = sampler.num_visible(VIDEO), sampler.num_secondary(VIDEO)
        assert (visible, visible - secondary) == (golden[key]["visible_total"], golden[key]["true_pixels_after_sm25"])
        t, h, w = sampler.pattern.cells(VIDEO)
        assert [t, 4 * h, 4 * w] == golden[key]["compact_patch_grid_T_h_w"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_secondary_masks_lie_among_the_visible(pattern: str, name: str, rng: np.random.Generator) -> None:
    grid = TokenGrid(4, 4, 6, 2, 16)
    seeds = random_seeds(rng, 300)
    sampler = cell_sampler(name, grid, uniform_sampling=pattern)
    selection = drawn(sampler, grid, seeds)
    assert selection.secondary is not None
    assert selection.secondary.shape == (300, sampler.num_secondary(grid))
    assert (selection.secondary.diff(dim=1) > 0).all()
    for secondary, visible in zip(selection.secondary, selection.visible, strict=True):
        assert set(secondary.tolist()) <= set(visible.tolist())
    # Every place is replaced in some draw, and the same seeds replace the same.
    assert len(selection.secondary.unique()) == grid.num_tokens
    if pattern == "tube":
        places = selection.secondary.unflatten(1, (grid.t, -1)) % 24
        assert (places == places[:, :1]).all()
    again = sampler(torch.zeros(300, grid.num_tokens, 8), grid, SampleNoise(seeds))
    assert torch.equal(again.secondary, selection.secondary) or name == "adaptive_uniform"
    none = cell_sampler(name, grid, uniform_sampling=pattern, secondary_mask_ratio=0.0)
    assert none.num_secondary(grid) == 0
    assert drawn(none, grid, seeds).secondary is None


def test_what_is_refused() -> None:
    with pytest.raises(UserError, match=r"mask_ratio = 0.9: expected 0.75, because one token of each cell of 1x2x2"):
        build_sampler("uniform", 0.9, VIDEO, 8)
    with pytest.raises(UserError, match=r"mask_ratio = 0.75: expected 0.875, because one token of each cell of 2x2x2"):
        build_sampler("uniform", 0.75, VIDEO, 8, uniform_sampling="octet")
    with pytest.raises(UserError, match="7 tokens along height do not divide into cells of 1x2x2 tokens"):
        build_sampler("uniform", None, TokenGrid(1, 7, 7, 1, 16), 8)
    with pytest.raises(UserError, match="3 tokens along time do not divide into cells of 2x2x2 tokens"):
        build_sampler("uniform", None, TokenGrid(3, 8, 8, 1, 16), 8, uniform_sampling="octet")
    with pytest.raises(UserError, match="uniform_sampling = 'cube': expected one of tube, step, octet"):
        build_sampler("uniform", None, VIDEO, 8, uniform_sampling="cube")
    with pytest.raises(UserError, match="secondary_mask_ratio = 1"):
        build_sampler("uniform", None, VIDEO, 8, secondary_mask_ratio=1.0)
    one_cell = TokenGrid(1, 2, 2, 1, 16)
    sampler = build_sampler("uniform", None, one_cell, 8, secondary_mask_ratio=0.25)
    with pytest.raises(UserError, match=r"secondary_mask_ratio = 0.25 masks all of the 1 visible tokens"):
        sampler.num_secondary(one_cell)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_adaptive_one_starts_uniform_and_follows_its_probabilities(pattern: str, rng: np.random.Generator) -> None:
    grid = TokenGrid(4, 4, 4, 2, 16)
    sampler = cell_sampler("adaptive_uniform", grid, uniform_sampling=pattern, sampler_network="mlp")
    assert isinstance(sampler, AdaptiveUniformSampler)
    tokens = torch.from_numpy(rng.normal(size=(1, grid.num_tokens, 8))).float()
    noise = SampleNoise(torch.zeros(1))
    start = sampler.log_probs(tokens, noise)
    torch.testing.assert_close(start.exp(), torch.full_like(start, 1 / sampler.pattern.size))
    with torch.no_grad():
        sampler.scorer.network[-1].weight.normal_(std=3)
    probabilities = sampler.log_probs(tokens, noise).exp()
    per_cell = torch.zeros(1, sampler.num_visible(grid)).scatter_add(
        1, sampler.pattern.cell_of(grid).unsqueeze(0), probabilities
    )
    torch.testing.assert_close(per_cell, torch.ones_like(per_cell))
    seeds = random_seeds(rng, 4000)
    many = tokens.expand(4000, -1, -1)
    visible = sampler(many, grid, SampleNoise(seeds)).visible
    share = torch.zeros(4000, grid.num_tokens).scatter(1, visible, 1).mean(dim=0)
    assert (share - probabilities[0]).abs().max() < 4.5 * 0.5 / 4000**0.5
    assert (probabilities - 1 / sampler.pattern.size).abs().max() > 0.1
    shares = sampler.preference(tokens, sampler.log_probs(tokens, noise), grid)
    assert shares is not None and shares.exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_without_its_options_the_usual_ones_are_taken() -> None:
    sampler = UniformSampler(0.75)
    assert (sampler.pattern, sampler.secondary_mask_ratio) == (PATTERNS["tube"], 0.25)
