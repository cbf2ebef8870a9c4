"""``adamae estimate``: from a few passes to hours, and what limits them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from adamae.benchmark.distribution import Distribution
from adamae.benchmark.estimate import Estimate, PassCost, RunSize
from adamae.cli.main import main
from tests.cli.test_pretrain import TINY

FAST = [*TINY, "--passes", "1", "--loader_videos", "4"]


def estimate(**changes: Any) -> Estimate:
    run = RunSize(gpus=2, clips_per_pass=8, passes_per_step=4, epochs=10, steps_per_epoch=100, workers=3)
    cost = PassCost(clips=8, pass_seconds=0.9, update_seconds=0.4, peak_memory=1000, kept_per_clip=10)
    parts: dict[str, Any] = {"run": run, "cost": cost, "loader_rate": 5.0, "distribution": Distribution(100, 0, 2, 1)}
    return Estimate(**{**parts, **changes})


def test_the_arithmetic_of_a_run_that_the_model_limits() -> None:
    told = estimate()
    # Four passes of 0.9 s and one update of 0.4 s make 32 clips of one process.
    assert told.seconds_per_step == pytest.approx(4.0)
    assert told.model_rate == pytest.approx(8.0)
    assert told.loaded_rate == pytest.approx(15.0)
    assert (told.limit, told.cores_per_gpu) == ("model", 2)
    assert told.rate == pytest.approx(16.0)
    assert told.hours_per_epoch == pytest.approx(100 * 4.0 / 3600)
    assert told.hours == pytest.approx(10 * 100 * 4.0 / 3600)
    assert (told.memory, told.largest_pass) == (1000, None)


def test_the_arithmetic_of_a_run_that_the_loader_limits() -> None:
    told = estimate(loader_rate=0.5)
    assert (told.limit, told.cores_per_gpu) == ("loader", 16)
    assert told.hours_per_epoch == pytest.approx(100 * 64 / (2 * 3 * 0.5) / 3600)
    assert "the loader; a loader of 16 cores per process keeps up with the model" in told.render()


def test_fewer_clips_than_the_run_has_are_counted_in_proportion_and_it_says_so() -> None:
    cost = PassCost(
        clips=2, pass_seconds=0.9, update_seconds=0.4, peak_memory=1000, kept_per_clip=10, total_memory=2000
    )
    told = estimate(cost=cost)
    assert told.seconds_per_step == pytest.approx(4 * 4 * 0.9 + 0.4)
    assert told.memory == 1060
    assert told.largest_pass == 2 + 80
    assert "measured with 2 clips per pass and scaled in proportion" in told.render()
    assert "2 processes are counted as that many times one, without gradient communication" in told.render()


@pytest.mark.parametrize(
    ("predicted", "memory"), [(False, 1000), (True, 1000 - 56 * 10 + Distribution(100, 0, 2, 1).held)]
)
def test_more_clips_than_the_run_has_are_counted_in_proportion_and_it_says_so(predicted: bool, memory: int) -> None:
    cost = PassCost(
        clips=64, pass_seconds=7.2, update_seconds=0.4, peak_memory=1000, kept_per_clip=10, predicted=predicted
    )
    told = estimate(cost=cost)
    assert told.seconds_per_step == pytest.approx(4 * 7.2 / 8 + 0.4)
    assert told.memory == memory
    # Nothing can be subtracted from a measured peak.
    assert f"at {8 if predicted else 64} clips per pass" in told.render()
    how = "predicted" if predicted else "measured"
    assert f"{how} with 64 clips per pass and scaled in proportion" in told.render()


def test_a_prediction_adds_what_a_process_holds_and_what_machines_exchange() -> None:
    cost = PassCost(
        clips=8,
        pass_seconds=0.9,
        update_seconds=0.4,
        peak_memory=1000,
        kept_per_clip=10,
        total_memory=10000,
        predicted=True,
    )
    spread = Distribution(parameters=10**9, buffers=0, processes=32, nodes=4, zero_stage=1, buckets=20)
    told = estimate(cost=cost, distribution=spread)
    assert told.memory == 1000 + spread.held
    # 32 processes in a ring under ZeRO: 3 * 31 / 32 of 4 GB, in a step of 4 s.
    assert (
        "10.83 GiB sent per machine and step, 21 all-reduces; of a step's time 23% at 100 Gbit/s, 12% at 200"
        in told.render()
    )
    assert "ZeRO stage 1: weights 3.73, gradients 3.73, optimizer 0.35" in told.render()
    assert told.as_dict()["network_seconds"]["100"] == pytest.approx(0.93)


def test_a_machine_has_its_cores_once_and_a_run_ends_where_it_is_told_to(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    words = ["--num_videos", "800", "--epochs", "10", "--loader_rate", "1", "--gpus", "8", "--num_workers", "none"]

    def run(*more: str) -> dict[str, Any]:
        assert main(["estimate", *FAST, *words, "--json", *more]) == 0
        told: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert told["hours"] == pytest.approx(told["hours_per_epoch"] * told["run"]["epochs"])
        return told["run"]  # type: ignore[no-any-return]

    whole, short = run(), run("--max_steps", "7")
    assert whole["workers"] == 1
    assert whole["epochs"] == 10
    assert short["epochs"] == pytest.approx(7 / short["steps_per_epoch"])


@pytest.mark.slow
def test_a_run_on_several_machines_is_predicted(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--num_videos", "4000", "--gpus", "8", "--nodes", "2", "--predict", "h100", "--json"]
    assert main(["estimate", *TINY, *words]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["run"]["gpus"] == told["distribution"]["processes"] == 16
    assert told["cost"]["predicted"] and told["cost"]["total_memory"] == 80 * 10**9
    assert told["hours"] > 0 and told["network_seconds"]["400"] > 0


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_a_prediction_has_the_average_of_past_weights(capsys: pytest.CaptureFixture[str]) -> None:
    held = {}
    for reward in ("error", "progress"):
        words = ["--num_videos", "4000", "--predict", "h100", "--json", "--sampling_reward", reward]
        assert main(["estimate", *TINY, *words]) == 0
        told = json.loads(capsys.readouterr().out)
        held[reward] = told["distribution"]
    parameters, buffers = held["error"]["parameters"], held["error"]["buffers"]
    assert held["progress"]["parameters"] == parameters
    # All weights but the sampler's, in four bytes each, and the buffers once more.
    assert parameters < held["progress"]["buffers"] - buffers < 4 * parameters + buffers


def test_what_is_not_known_is_not_made_up() -> None:
    run = RunSize(gpus=1, clips_per_pass=8, passes_per_step=1, epochs=10, steps_per_epoch=None, workers=0)
    told = estimate(run=run, loader_rate=None)
    assert (told.hours, told.cores_per_gpu, told.loaded_rate, told.limit) == (None, None, None, "model")
    assert "unknown: give --data_path or --loader_rate" in told.render()
    assert "unknown: give --data_path or --num_videos" in told.render()


def test_model_and_loader_are_measured(videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--data_path", str(videos / "train.csv"), *FAST, "--gpus", "3", "--economy"]
    assert main(["estimate", *words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["run"] == {
        "gpus": 3,
        "clips_per_pass": 4,
        "passes_per_step": 1,
        "epochs": 2,
        "steps_per_epoch": 1,
        "workers": 0,
    }
    assert told["cost"]["clips"] == 2 and told["cost"]["kept_per_clip"] > 0
    assert told["loader_rate"] > 0 and told["hours"] > 0


def test_known_rates_need_no_videos(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", *FAST, "--num_videos", "4000", "--loader_rate", "0.001", "--clips_per_pass", "1"]) == 0
    told = capsys.readouterr().out
    assert "the loader; a loader of" in told and "1000 steps" in told
    assert main(["estimate", *FAST, "--num_videos", "36", "--loader_rate", "0.01", "--hours_per_epoch"]) == 0
    assert float(capsys.readouterr().out) == pytest.approx(36 / 0.01 / 3600, rel=1e-3)


def test_what_a_preset_gives_in_vain_is_noted_beside_the_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.yaml").write_text("sampling_reduction: sum\n")
    words = ["--config", str(tmp_path / "mine.yaml"), *FAST, "--mask_type", "tube", "--num_videos", "9"]
    assert main(["estimate", *words, "--loader_rate", "1", "--json"]) == 0
    printed = capsys.readouterr()
    assert printed.err == "note: no effect with --mask_type tube: sampling_reduction sum\n"
    assert json.loads(printed.out)["loader_rate"] == 1


def test_a_run_that_there_cannot_be_is_refused_before_it_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("adamae.estimate.measure_pass", lambda *_, **__: pytest.fail("measured"))
    words = ["--num_videos", "3", "--loader_rate", "1", "--batch_size", "4", "--device", "cpu"]
    assert main(["estimate", *TINY, *words]) == 2
    assert "a step needs 4 videos or images" in capsys.readouterr().err


def test_hours_without_a_number_of_videos_are_one_clear_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", *FAST, "--hours_per_epoch"]) == 2
    assert (
        "--hours_per_epoch needs the number of videos or images: give --data_path or --num_videos"
        in capsys.readouterr().err
    )
