"""The objective of fine-tuning, and validation that keeps the best."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from adamae.checkpoints.store import CheckpointStore
from adamae.distributed import World
from adamae.errors import UserError
from adamae.models import Classifier, vit_classifier
from adamae.training.best_weights import BestWeights
from adamae.training.ema import WeightEma
from adamae.training.mixing import MIX, Mixing
from adamae.training.objectives import FinetuneObjective
from adamae.training.plan import Plan
from adamae.training.validation import Validation


def classifier() -> Classifier:
    torch.manual_seed(0)
    return vit_classifier(
        img_size=16, patch_size=8, num_frames=4, num_classes=3, embed_dim=16, depth=1, num_heads=2, init_scale=1.0
    )


def batch() -> dict[str, torch.Tensor]:
    noise = torch.Generator().manual_seed(0)
    clip = torch.randint(256, (4, 4, 16, 16, 3), dtype=torch.uint8, generator=noise)
    return {"clip": clip, "label": torch.tensor([0, 2, 1, 2]), "seed": torch.arange(4)}


def test_the_objective_names_its_parts() -> None:
    model, clips = classifier(), batch()
    parts = FinetuneObjective(smoothing=0.0)(model, clips, False)
    assert parts.keys() == {"loss", "accuracy"}
    assert parts["loss"].requires_grad
    assert not parts["accuracy"].requires_grad
    logits = model(clips["clip"], seeds=clips["seed"])
    assert parts["loss"].item() == pytest.approx(nn.functional.cross_entropy(logits, clips["label"]).item())
    assert parts["accuracy"].item() == (logits.argmax(dim=1) == clips["label"]).float().mean().item()


def test_a_mixed_batch_is_judged_by_the_larger_share() -> None:
    model, clips = classifier(), batch()
    mix = Mixing(cutmix=0.0).draw(clips["seed"], 16, 16)
    mix[:, 0], mix[:, 1] = 0.0, 0.0  # every clip is wholly its partner
    parts = FinetuneObjective()(model, clips | {MIX: mix}, False)
    partners = clips | {"clip": clips["clip"].flip(0), "label": clips["label"].flip(0)}
    expected = FinetuneObjective()(model, partners, False)
    assert {name: value.item() for name, value in parts.items()} == pytest.approx(
        {name: value.item() for name, value in expected.items()}
    )


def best_weights(
    keep: Callable[[int, Mapping[str, float]], None] = lambda *_: None, discard: Callable[[], None] = lambda: None
) -> Any:
    return SimpleNamespace(keep=keep, discard=discard, record=lambda step: None, take_back=lambda best: True)


def test_the_best_is_kept_and_the_earlier_of_equals() -> None:
    network = nn.Linear(1, 1)
    kept: list[int] = []
    scores = iter([10.0, 30.0, 20.0, 30.0, 40.0])
    validation = Validation(
        lambda: {"val_loss": 1.0, "val_top1": next(scores)},
        best_weights(lambda step, _: kept.append(step)),
        WeightEma(network, None),
    )
    lines = []
    for epoch in range(5):
        validation.after_step(7 * (epoch + 1))
        lines.append(validation.after_epoch(epoch))
    assert kept == [7, 14, 35]
    assert [line["best_val_top1"] for line in lines] == [10.0, 30.0, 30.0, 30.0, 40.0]
    assert validation.best == {"step": 35, "val_loss": 1.0, "val_top1": 40.0}


def test_the_average_is_what_is_measured_and_kept() -> None:
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    average = WeightEma(network, 0.5)
    nn.init.ones_(network.weight)
    average.after_step(1)
    seen: list[float] = []

    def measure() -> Mapping[str, float]:
        seen.append(network.weight.item())
        return {"val_top1": 1.0}

    Validation(measure, best_weights(lambda *_: seen.append(network.weight.item())), average).after_epoch(0)
    assert seen == [0.5, 0.5]
    assert network.weight.item() == 1.0


def test_a_resumed_validation_knows_the_best() -> None:
    average = WeightEma(nn.Linear(1, 1), None)
    first = Validation(lambda: {"val_top1": 50.0}, best_weights(), average)
    first.after_step(3)
    first.after_epoch(0)
    kept: list[int] = []
    second = Validation(lambda: {"val_top1": 50.0}, best_weights(lambda step, _: kept.append(step)), average)
    second.load(first.state())
    second.after_step(6)
    assert second.after_epoch(1)["best_val_top1"] == 50.0
    assert kept == []
    # In a folder of its own the best weights of the other run do not lie, and may be of a later step than its state.
    third = Validation(
        lambda: {"val_top1": 40.0},
        best_weights(lambda step, _: kept.append(step)),
        average,
        resumed_from_other_run=True,
    )
    third.load(first.state())
    assert third.best == {}
    third.after_step(6)
    assert third.after_epoch(1)["best_val_top1"] == 40.0
    assert kept == [6]


def test_what_an_earlier_run_kept_goes_when_a_checkpoint_without_a_best_is_written() -> None:
    average = WeightEma(nn.Linear(1, 1), None)
    done: list[str] = []
    best = best_weights(lambda *_: done.append("kept"), lambda: done.append("discarded"))
    validation = Validation(lambda: {"val_top1": 50.0}, best, average)
    assert done == []
    validation.state()
    assert done == ["discarded"]
    validation.after_epoch(0)
    validation.state()
    assert done == ["discarded", "kept"]


@dataclass
class Validated:
    """A run in a folder that keeps its best weights there; the weight of its network is the step."""

    folder: Path
    scores: Iterable[float]
    keep_last: int = 1

    def __post_init__(self) -> None:
        self.network = nn.Linear(1, 1)
        best = BestWeights(self.folder, self.network, {}, Plan(9, 10), World(), keep_last=self.keep_last)
        scores = iter(self.scores)
        self.best_weights = best
        self.validation = Validation(lambda: {"val_top1": next(scores)}, best, WeightEma(self.network, None))

    def epoch(self, step: int) -> float:
        """Train until ``step`` and validate; return the best accuracy."""
        nn.init.constant_(self.network.weight, step)
        self.validation.after_step(step)
        return self.validation.after_epoch(0)["best_val_top1"]

    def tested(self) -> float:
        self.best_weights.load_into_model(self.validation.best)
        return self.network.weight.item()

    def kept(self) -> list[int]:
        return sorted(int(path.name[5:]) for path in self.folder.glob("step-*"))


def newest_weight(folder: Path) -> float:
    newest = CheckpointStore(folder).newest()
    assert newest is not None
    return newest.weights()["weight"].item()


def test_a_run_that_was_killed_goes_back_to_the_best_weights_of_its_checkpoint(tmp_path: Path) -> None:
    first = Validated(tmp_path, [50.0, 60.0, 70.0])
    first.epoch(10)
    checkpoint = first.validation.state()
    # Killed after two better epochs, before the next checkpoint.
    first.epoch(20)
    first.epoch(30)
    assert (first.kept(), newest_weight(tmp_path)) == ([10, 30], 30.0)
    again = Validated(tmp_path, [45.0, 46.0, 55.0])
    again.validation.load(checkpoint)
    assert newest_weight(tmp_path) == 10.0
    assert [again.epoch(20), again.epoch(25)] == [50.0, 50.0]
    assert again.tested() == newest_weight(tmp_path) == 10.0
    assert again.epoch(40) == 55.0
    assert again.tested() == newest_weight(tmp_path) == 40.0
    # No checkpoint names step 40 yet; step 30 is passed.
    assert again.kept() == [10, 40]


@pytest.mark.parametrize("keep_last", [1, 2])
def test_the_best_weights_that_a_kept_checkpoint_names_are_kept(tmp_path: Path, keep_last: int) -> None:
    run = Validated(tmp_path, range(9), keep_last)
    checkpoints = []
    for step in range(10, 90, 10):
        run.epoch(step)
        if step % 20 == 0:
            checkpoints.append(run.validation.state())
    run.epoch(90)
    assert run.kept() == [60, 80, 90][-keep_last - 1 :]
    for checkpoint in checkpoints[-keep_last:]:
        again = Validated(tmp_path, [])
        again.validation.load(checkpoint)
        assert again.tested() == newest_weight(tmp_path) == checkpoint["step"]


@pytest.mark.parametrize("there", ["nothing", "another step", "the step of another run"])
def test_best_weights_that_are_missing_are_said_and_the_next_ones_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], there: str
) -> None:
    """Releases before this one removed them before the run had saved a checkpoint."""
    first = Validated(tmp_path, [50.0, 70.0])
    first.epoch(10)
    checkpoint = first.validation.state()
    shutil.rmtree(tmp_path)
    if there != "nothing":
        first.epoch(20 if there == "another step" else 10)
    again = Validated(tmp_path, [45.0, 44.0])
    again.validation.load(checkpoint)
    assert "the best weights" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"best weights are missing: .*step-00000010.*; --resume none starts"):
        again.tested()
    assert [again.epoch(25), again.epoch(35)] == [45.0, 45.0]
    assert again.tested() == newest_weight(tmp_path) == 25.0


def test_without_a_measure_nothing_is_validated() -> None:
    average = WeightEma(nn.Linear(1, 1), None)
    validation = Validation(None, best_weights(), average)
    validation.after_step(3)
    assert validation.after_epoch(0) == {}
    assert validation.state() == {"best": {}, "step": 3}
