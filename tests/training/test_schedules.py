from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adamae.errors import UserError
from adamae.training.schedules import CosineSchedule, count_warmup_steps, scaled_lr

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/adamae/golden_schedule.json").read_text())


@pytest.mark.parametrize("case", [case for case in GOLDEN.values() if isinstance(case, dict)])
def test_published_values(case: dict[str, Any]) -> None:
    args = case["args"]
    warmup = count_warmup_steps(args["warmup_epochs"], args.get("warmup_steps", -1), args["steps_per_epoch"])
    total = args["epochs"] * args["steps_per_epoch"]
    schedule = CosineSchedule(args["base"], args["final"], total, warmup)
    assert [schedule(step) for step in range(total)] == pytest.approx(case["values"], rel=1e-11, abs=0)


def test_peak_is_used_twice_and_the_end_is_never_reached() -> None:
    schedule = CosineSchedule(1.0, 0.1, total_steps=10, warmup_steps=4)
    assert [schedule(0), schedule(3), schedule(4)] == [0.0, 1.0, 1.0]
    assert schedule(9) > 0.1


@pytest.mark.parametrize("warmup", [0, 1, 10])
def test_extreme_warmups(warmup: int) -> None:
    values = [CosineSchedule(1.0, 0.0, 10, warmup)(step) for step in range(10)]
    assert values[0] == (1.0 if warmup == 0 else 0.0)
    assert max(values) == 1.0


def test_equal_ends_are_constant() -> None:
    assert {CosineSchedule(0.05, 0.05, 7)(step) for step in range(7)} == {0.05}


def test_warmup_longer_than_the_run() -> None:
    with pytest.raises(UserError, match="warm-up of 11 steps: expected 0 to 10"):
        CosineSchedule(1.0, 0.0, 10, 11)


def test_linear_scaling() -> None:
    assert scaled_lr(1.5e-4, 32 * 8) == 1.5e-4
    assert scaled_lr(1.5e-4, 64) == pytest.approx(3.75e-5)
