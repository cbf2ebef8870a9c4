"""The loop with a tiny real model: what it logs, that it resumes exactly, and what ends it early."""

from __future__ import annotations

import json
import os
import signal
import weakref
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import torch

from adamae.errors import PreemptedError, UserError
from adamae.training.loop import _step_seed
from adamae.training.objectives import DIAGNOSES, pretrain_objective
from adamae.training.plan import Plan
from adamae.training.run_logger import TIMING, StepLines
from tests.training import tiny_run
from tests.training.tiny_run import EPOCHS, VIDEOS, TinyBatches, run, weights

STEPS = VIDEOS // 4 * EPOCHS


def lines(output: Path) -> list[dict[str, Any]]:
    """The log without what depends on the clock."""
    records = StepLines(output / "log.jsonl").read()
    return [{key: value for key, value in record.items() if key not in TIMING} for record in records]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("whole")
    assert run(output, tensorboard=True).step == STEPS
    return output


def drawing(model: Any, batch: Any, diagnose: bool) -> Any:
    return pretrain_objective(model, batch, diagnose) | {"drawn": torch.rand(())}  # as dropout does


@pytest.fixture(scope="module")
def every_step(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The same run's log with a line per step, and with what torch's generator gave in it."""
    output = tmp_path_factory.mktemp("every_step")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny_run, "pretrain_objective", drawing)
        run(output, log_every=1)
    return [record for record in lines(output) if record["kind"] == "step"]


def test_log_has_a_line_per_interval_and_epoch(whole: Path) -> None:
    records = StepLines(whole / "log.jsonl").read()
    steps = [record["step"] for record in records if record["kind"] == "step"]
    epochs = [(record["epoch"], record["step"]) for record in records if record["kind"] == "epoch"]
    assert steps == [5, 10, 15, 18]
    assert epochs == [(0, 6), (1, 12), (2, 18)]
    expected = {"loss", "reconstruction", "sampling", "trivial", "entropy", "top_tenth", "hit_rate", "grad_norm"}
    expected |= {"lr", "weight_decay", "skipped", "partial", *TIMING}
    assert expected <= records[-2].keys()
    assert all(record["loss"] > 0 and 0 <= record["data_wait"] <= 1 for record in records)


def test_a_line_has_the_means_of_its_own_steps(whole: Path, every_step: list[dict[str, Any]]) -> None:
    begin = {"step": 0, "epoch": 0}
    for line in lines(whole):
        steps = every_step[begin[line["kind"]] : line["step"]]
        for name in ("loss", "reconstruction", "sampling", "grad_norm"):
            assert line[name] == pytest.approx(fmean(record[name] for record in steps), rel=1e-9)
        begin[line["kind"]] = line["step"]
    assert begin == {"step": STEPS, "epoch": STEPS}


def test_every_step_of_every_rank_draws_for_itself(every_step: list[dict[str, Any]], rng: np.random.Generator) -> None:
    assert len({record["drawn"] for record in every_step}) == STEPS
    seeds = (0, 1, *rng.integers(2, 2**31, size=2).tolist())
    steps = (0, 1, *rng.integers(2, 10**6, size=2).tolist())
    places = set(product(seeds, steps, (0, 1, 2, 1023)))
    assert len({_step_seed(*place) for place in places}) == len(places)


def test_tensorboards_own_reader_opens_the_files(whole: Path) -> None:
    losses = scalars(whole, "step/loss")
    logged = {record["step"]: record["loss"] for record in lines(whole) if record["kind"] == "step"}
    assert losses == pytest.approx(logged)


@pytest.mark.parametrize("stop", [4, 7, 12, 17])
def test_ended_early_and_resumed_equals_never_ended(whole: Path, tmp_path: Path, stop: int) -> None:
    assert run(tmp_path, max_steps=stop, tensorboard=True).step == stop
    last = next(line for line in reversed(lines(tmp_path)) if line["kind"] == "step")
    assert last["partial"] and set(DIAGNOSES) <= last.keys()
    assert run(tmp_path, tensorboard=True).step == STEPS
    assert_equal_runs(tmp_path, whole)
    for name in ("step/loss", "epoch/loss", "step/trivial", "epoch/trivial"):
        assert scalars(tmp_path, name) == scalars(whole, name)


def scalars(output: Path, name: str) -> dict[int, float]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(output / "tensorboard")).Reload().Scalars(name)
    assert len({event.step for event in events}) == len(events)
    return {event.step: event.value for event in events}


def assert_equal_runs(paused: Path, whole: Path) -> None:
    assert lines(paused) == lines(whole)
    after, before = weights(paused), weights(whole)
    assert all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize(("stop", "place"), [(1, (0, 3)), (3, (1, 3))])
def test_resumed_with_gradient_accumulation_the_next_micro_batch_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int, place: tuple[int, int]
) -> None:
    # 26 videos make two steps of three micro-batches of four.
    run(tmp_path / "whole", accumulation=3, max_steps=4)
    asked: list[tuple[int, int]] = []
    begin = TinyBatches.__call__

    def watched(batches: TinyBatches, epoch: int, first: int) -> Any:
        asked.append((epoch, first))
        return begin(batches, epoch, first)

    monkeypatch.setattr(TinyBatches, "__call__", watched)
    run(tmp_path / "halves", accumulation=3, max_steps=stop)
    run(tmp_path / "halves", accumulation=3, max_steps=4)
    assert asked == [(0, 0), place]
    assert_equal_runs(tmp_path / "halves", tmp_path / "whole")


@pytest.mark.slow
def test_a_pyramid_ended_early_and_resumed_equals_never_ended(tmp_path: Path) -> None:
    run(tmp_path / "whole", network="swin", max_steps=9)
    run(tmp_path / "halves", network="swin", max_steps=5)
    run(tmp_path / "halves", network="swin", max_steps=9)
    whole, halves = weights(tmp_path / "whole"), weights(tmp_path / "halves")
    assert all(torch.equal(halves[name], whole[name]) for name in whole)


def test_resume_forgets_what_was_written_beyond_the_checkpoint(whole: Path, tmp_path: Path) -> None:
    run(tmp_path, max_steps=8)
    log = tmp_path / "log.jsonl"
    log.write_text(log.read_text() + '{"kind": "step", "step": 10, "epoch": 1, "loss": 5.0}\n{"kind": "st')
    assert run(tmp_path).step == STEPS
    assert [line["step"] for line in lines(tmp_path)] == [line["step"] for line in lines(whole)]
    assert all(line["loss"] != 5.0 for line in lines(tmp_path))


def test_a_finished_run_is_left_alone(whole: Path) -> None:
    before = lines(whole)

    def no_stream(epoch: int, first: int) -> Any:
        raise AssertionError("nothing is left to load")

    assert run(whole, stream=no_stream).step == STEPS
    assert lines(whole) == before


def test_a_signal_saves_and_leaves_and_the_run_goes_on(whole: Path, tmp_path: Path) -> None:
    class Caller:
        def after_step(self, step: int) -> None:
            if step == 7:
                os.kill(os.getpid(), signal.SIGTERM)

        def after_epoch(self, epoch: int) -> dict[str, float]:
            return {}

        def state(self) -> dict[str, Any]:
            return {}

        def load(self, state: Any) -> None:
            assert state == {}

    outcome = run(tmp_path, callbacks={"caller": Caller()})
    assert (outcome.step, outcome.signal) == (7, "SIGTERM")
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert run(tmp_path, callbacks={"caller": Caller()}).step == STEPS
    assert lines(tmp_path) == lines(whole)


def test_callbacks_join_the_epochs_line_and_are_resumed(tmp_path: Path) -> None:
    class Counter:
        steps = 0

        def after_step(self, step: int) -> None:
            self.steps += 1

        def after_epoch(self, epoch: int) -> dict[str, float]:
            return {"counted": self.steps}

        def state(self) -> dict[str, Any]:
            return {"steps": self.steps}

        def load(self, state: dict[str, Any]) -> None:
            self.steps = state["steps"]

    run(tmp_path, max_steps=7, callbacks={"counter": Counter()})
    run(tmp_path, callbacks={"counter": Counter()})
    assert [line["counted"] for line in lines(tmp_path) if line["kind"] == "epoch"] == [6, 12, 18]


def test_callbacks_are_resumed_by_their_names(tmp_path: Path) -> None:
    class Remembering:
        def __init__(self, word: str) -> None:
            self.word = word
            self.loaded: Any = None

        def after_step(self, step: int) -> None:
            pass

        def after_epoch(self, epoch: int) -> dict[str, float]:
            return {}

        def state(self) -> dict[str, Any]:
            return {"word": self.word}

        def load(self, state: Any) -> None:
            self.loaded = dict(state)

    run(tmp_path, max_steps=4, callbacks={"one": Remembering("1"), "two": Remembering("2")})
    callbacks = {name: Remembering(name) for name in ("new", "two", "one")}
    run(tmp_path, max_steps=5, callbacks=callbacks)
    assert {name: each.loaded for name, each in callbacks.items()} == {
        "new": {},
        "two": {"word": "2"},
        "one": {"word": "1"},
    }


def test_bad_videos_are_listed_once_and_end_the_run_past_their_share(whole: Path, tmp_path: Path) -> None:
    records = StepLines(whole / "bad_videos.jsonl").read()
    assert [(record["path"], record["reason"]) for record in records] == [("five.mp4", "is empty")]
    with pytest.raises(UserError, match=r"1 of 26 files could not be read.*five\.mp4: is empty"):
        run(tmp_path, max_bad_fraction=0.01)


@pytest.mark.parametrize("at", [0, EPOCHS - 1])
def test_a_validation_that_was_left_is_done_when_the_run_is_resumed(whole: Path, tmp_path: Path, at: int) -> None:
    asked: list[int] = []

    class Validating:
        def after_step(self, step: int) -> None:
            pass

        def after_epoch(self, epoch: int) -> dict[str, float]:
            asked.append(epoch)
            if asked.count(at) == 1 and epoch == at:
                raise PreemptedError
            return {}

        def state(self) -> dict[str, Any]:
            return {}

        def load(self, state: Any) -> None:
            pass

    left = run(tmp_path, callbacks={"validation": Validating()})
    assert (left.step, left.signal is None) == ((at + 1) * (VIDEOS // 4), False)
    assert run(tmp_path, callbacks={"validation": Validating()}).signal is None
    assert asked == [*range(at + 1), *range(at, EPOCHS)]
    assert lines(tmp_path) == lines(whole)
    after, before = weights(tmp_path), weights(whole)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_the_line_of_an_epochs_end_that_is_gone_through_again_is_dropped(tmp_path: Path) -> None:
    log = StepLines(tmp_path / "log.jsonl")
    kept = [{"kind": "epoch", "step": 6}, {"kind": "step", "step": 12}]
    log.append([*kept, {"kind": "epoch", "step": 12}, {"kind": "step", "step": 15}])
    log.rewind(12, epoch_log_pending=True)
    assert log.read() == kept


def poisoned(first_bad: int, last_bad: int) -> Any:
    def stream(epoch: int, first: int) -> Any:
        for number in range(epoch * 6 + first, 1000):
            clip = torch.rand(4, 3, 8, 16, 16, generator=torch.Generator().manual_seed(number))
            if first_bad <= number <= last_bad:
                clip[1] = torch.nan
            numbers = torch.arange(4) + 4 * number
            yield {"clip": clip, "index": numbers, "seed": numbers}

    return stream


def test_steps_that_are_not_finite_are_skipped_counted_and_written_down(tmp_path: Path) -> None:
    run(tmp_path, stream=poisoned(2, 3))
    records = lines(tmp_path)
    assert [record["skipped"] for record in records] == [2] * len(records)
    assert all(record["loss"] is not None for record in records)
    files = sorted((tmp_path / "nonfinite").iterdir())
    assert [file.name for file in files] == ["step-00000003-rank0.json", "step-00000004-rank0.json"]
    record = json.loads(files[0].read_text())
    assert (record["index"], record["seed"], record["loss"]) == ([8, 9, 10, 11], [8, 9, 10, 11], "nan")


def test_a_step_holds_one_micro_batch_at_a_time_and_loading_changes_no_draw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny_run, "pretrain_objective", drawing)
    taken: list[weakref.ref[torch.Tensor]] = []
    most = 0

    def stream(epoch: int, first: int) -> Any:
        nonlocal most
        for batch in poisoned(1000, 1000)(epoch, first):
            torch.rand(3)  # as a loader without workers may
            most = max(most, sum(held() is not None for held in taken))
            taken.append(weakref.ref(batch["clip"]))
            yield batch
            del batch

    run(tmp_path / "counted", accumulation=6, stream=stream)
    assert len(taken) == 6 * EPOCHS
    # While one is loaded, the engine still has the one before.
    assert most <= 2
    run(tmp_path / "plain", accumulation=6, stream=poisoned(1000, 1000))
    assert lines(tmp_path / "counted") == lines(tmp_path / "plain")


def test_too_many_skipped_steps_end_the_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="7 consecutive steps"):
        run(tmp_path, stream=poisoned(3, 1000), max_skipped=6)


def test_the_plan_ends_early_and_refuses_what_makes_no_run() -> None:
    plan = Plan(epochs=3, steps_per_epoch=10, max_steps=25, log_every=10, save_every_epochs=2)
    assert (plan.scheduled_steps, plan.last_step) == (30, 25)
    assert [step for step in range(1, 26) if plan.logs(step)] == [10, 20, 25]
    assert [step for step in range(1, 26) if plan.saves(step)] == [20, 25]
    assert [step for step in range(1, 26) if plan.cuts_interval(step)] == [25]
    for whole in (Plan(epochs=1, steps_per_epoch=25, max_steps=25), Plan(epochs=3, steps_per_epoch=10, max_steps=20)):
        assert not any(whole.cuts_interval(step) for step in range(1, 31))
    with pytest.raises(UserError, match="steps_per_epoch = 0"):
        Plan(epochs=1, steps_per_epoch=0)
