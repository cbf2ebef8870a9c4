"""Cost grows as it should: what is counted is what the formulas say, and what is kept grows with the tokens alone."""

from __future__ import annotations

import json

import pytest
import torch
from scaling import main
from scaling_measurement import Case, exponents, measure_scaling, render, slope

from adamae.benchmark.arithmetic import count_by_kind
from adamae.errors import UserError
from adamae.models import create_model

SMALL = "--model adamae_tiny --encoder_depth 1 --decoder_depth 1 --patch_size 32 --device cpu --rounds 1".split()


def test_attention_is_what_grows_with_the_square() -> None:
    def counts(frames: int) -> dict[str, int]:
        with torch.device("meta"):
            return count_by_kind(create_model("adamae_base", num_frames=frames))  # type: ignore[arg-type]

    tokens, visible = 1568, 78
    sampler, encoder = 2 * tokens**2 * 768, 12 * 2 * visible**2 * 768
    # The last block asks for the hidden tokens alone.
    decoder = 2 * tokens * (3 * tokens + tokens - visible) * 384
    once, twice = counts(16), counts(32)
    assert once["attention"] == sampler + encoder + decoder
    assert twice["attention"] == pytest.approx(4 * once["attention"], rel=1e-3)
    assert twice["linear"] == pytest.approx(2 * once["linear"], rel=1e-3)


def test_the_slope_is_that_of_a_power_law() -> None:
    assert slope([1, 2, 4], [5, 20, 80]) == pytest.approx(2)
    assert slope([3, 3], [1, 2]) is None


def test_what_is_kept_grows_with_the_tokens_and_not_with_their_square() -> None:
    sizes = {"img_size": 64, "patch_size": 8, "encoder_depth": 1, "decoder_depth": 1}
    cases = [Case("frames", frames, "adamae_tiny", {**sizes, "num_frames": frames}) for frames in (4, 8, 16)]
    points = measure_scaling(cases, device=torch.device("cpu"), rounds=1)
    assert [point.tokens for point in points] == [128, 256, 512]
    found = exponents(points)["frames"]
    assert found["kept"] == pytest.approx(1, abs=0.05)
    assert 1 < found["counted"] < 2
    assert "time" in found


def test_large_cases_are_only_counted() -> None:
    case = Case("width", "huge", "adamae_huge", {})
    (point,) = measure_scaling([case], device=torch.device("cpu"), most=1e9)
    assert point.seconds is None and point.kept is None and point.counted > 1e11
    assert "counted only" in render([point])
    assert exponents([point]) == {"width": {}}


def test_the_command_prints_a_table_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    words = [*SMALL, "--axes", "ratio", "--most", "1", "--num_frames", "4"]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "| ratio | 0.95 | 98 | 4 |" in told and "- ratio: time" in told
    assert main([*words, "--economy", "--json"]) == 0
    points = json.loads(capsys.readouterr().out)["points"]
    assert [point["case"]["value"] for point in points] == [0.8, 0.9, 0.95, 0.98]
    assert points[0]["case"]["arguments"]["sampler_dim"] == 96


def test_an_unknown_axis() -> None:
    with pytest.raises(UserError, match=r"--axes: got 'frame'; did you mean frames\?"):
        main(["--axes", "frame", "--device", "cpu"])
