"""Paired comparisons: the interval against numbers worked out by hand, and what may be said of it."""

from __future__ import annotations

import importlib
import math
import statistics
from types import ModuleType

import numpy as np
import pytest


@pytest.fixture
def script() -> ModuleType:
    return importlib.import_module("paired")


def test_only_common_seeds_are_paired(script: ModuleType) -> None:
    # Differences 1, 2, 3: mean 2, deviation 1, and 4.30265 / sqrt(3) by Student's t with two degrees of freedom.
    difference = script.paired_difference({0: 11.0, 1: 22.0, 2: 33.0, 7: 99.0}, {2: 30.0, 1: 20.0, 0: 10.0, 5: 0.0})
    assert (difference.seeds, difference.mean) == (3, 2.0)
    assert difference.margin == pytest.approx(4.30265 / math.sqrt(3))
    assert difference.render() == "+2.0 [-0.5, +4.5]"
    assert script.paired_difference({0: 1.0}, {1: 1.0}) is None


def test_what_all_seeds_share_is_not_in_the_interval(script: ModuleType) -> None:
    # Seeds differ by fifty points, the rows by one: unpaired intervals would overlap.
    difference = script.paired_difference({0: 11.0, 1: 61.1, 2: 35.9}, {0: 10.0, 1: 60.0, 2: 35.0})
    assert script.compare(difference) == "better"


def test_the_margin_is_wider_for_few_seeds_than_the_normal_one(script: ModuleType) -> None:
    for seeds in range(2, 70):
        values = [(-1.0) ** seed for seed in range(seeds)]
        std = statistics.stdev(values)
        difference = script.paired_difference(dict(enumerate(values)), dict.fromkeys(range(seeds), 0.0))
        quantile = difference.margin / std * math.sqrt(seeds)
        # Simpson's rule over the density of Student's t from zero to the quantile of 97.5 %.
        degrees, x = seeds - 1, np.linspace(0, quantile, 20_001)
        scale = math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)) / math.sqrt(degrees * math.pi)
        density = scale * (1 + x**2 / degrees) ** (-(degrees + 1) / 2)
        area = (density[0] + density[-1] + 4 * density[1::2].sum() + 2 * density[2:-1:2].sum()) * x[1] / 3
        assert area == pytest.approx(0.475, abs=1e-6), seeds


@pytest.mark.parametrize(
    ("mean", "margin", "verdict", "order"),
    [
        (5.0, 4.9, "better", "reproduced"),
        (5.0, 5.1, "not decided", "not decided"),
        (-5.0, 4.9, "worse", "not reproduced (the opposite)"),
        (-5.0, 5.1, "not decided", "not decided"),
    ],
)
def test_no_claim_where_the_interval_holds_zero(
    script: ModuleType, mean: float, margin: float, verdict: str, order: str
) -> None:
    difference = script.Difference(6, mean, margin)
    assert script.compare(difference) == verdict
    assert script.answer_order(difference) == order


def test_one_seed_says_nothing(script: ModuleType) -> None:
    one = script.paired_difference({0: 90.0}, {0: 10.0})
    assert one.render() == "+80.0"
    for answer in (script.compare, script.answer_order):
        assert answer(one) == answer(None) == "not yet"
    for answer in (script.answer_near, script.answer_enough):
        assert answer(one, 5.0) == answer(None, 5.0) == "not yet"


@pytest.mark.parametrize(
    ("mean", "margin", "near", "enough"),
    [
        (0.0, 4.9, "reproduced", "reproduced"),
        (0.0, 5.1, "not decided", "not decided"),
        (6.0, 2.0, "not decided", "not decided"),
        (8.0, 2.0, "not reproduced", "not reproduced"),
        (-8.0, 2.0, "not reproduced", "reproduced"),
    ],
)
def test_near_and_enough_need_the_whole_interval(
    script: ModuleType, mean: float, margin: float, near: str, enough: str
) -> None:
    difference = script.Difference(6, mean, margin)
    assert script.answer_near(difference, 5.0) == near
    assert script.answer_enough(difference, 5.0) == enough
