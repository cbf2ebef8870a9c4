"""The objective of fine-tuning, and validation that keeps the best."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from adamae.models import Classifier, vit_classifier
from adamae.training.ema import WeightEma
from adamae.training.mixing import MIX, Mixing
from adamae.training.objectives import FinetuneObjective
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
    return SimpleNamespace(keep=keep, discard=discard)


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


def test_without_a_measure_nothing_is_validated() -> None:
    average = WeightEma(nn.Linear(1, 1), None)
    validation = Validation(None, best_weights(), average)
    validation.after_step(3)
    assert validation.after_epoch(0) == {}
    assert validation.state() == {"best": {}, "step": 3}
