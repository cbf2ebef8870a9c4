"""What the sampler is rewarded by, and the average of past weights that learning progress needs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from adamae.checkpoints.formats import open_checkpoint
from adamae.checkpoints.loading import load_weights
from adamae.distributed import World
from adamae.losses.reconstruction import Metric
from adamae.losses.sampling import sampling_loss
from adamae.randomness import SampleNoise
from adamae.training.adam_state import build_optimizer
from adamae.training.engine import EngineSettings
from adamae.training.objectives import pretrain_objective
from adamae.training.parameter_groups import parameter_groups
from adamae.training.torch_engine import TorchEngine
from tests.checkpoints.networks import clip, pretrainer

SEEDS = torch.tensor([3, 4])


def test_there_is_no_past_unless_it_is_asked_for() -> None:
    assert pretrainer().past is None
    assert pretrainer(sampling_reward="progress", mask_type="random").past is None


def test_without_a_past_of_its_own_there_is_no_progress() -> None:
    # Every part of the copy is the network's, so both err alike, dropped blocks included.
    torch.manual_seed(0)
    model = pretrainer(sampling_reward="progress", drop_path_rate=0.5)
    model.past.load_state_dict({name: model.state_dict()[name] for name in model.past.state_dict()})
    out = model.train()(clip(), seeds=SEEDS)
    assert out.losses["sampling"].abs() < 1e-7
    assert out.losses["reconstruction"] > 0.1


@pytest.mark.parametrize("metric", ["mse", "l1"])
def test_progress_is_the_past_error_less_the_error(metric: Metric) -> None:
    model = pretrainer(sampling_reward="progress", reconstruction_loss=metric)
    with torch.no_grad():
        for parameter in model.past.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    old = pretrainer(reconstruction_loss=metric)
    old.load_state_dict({**model.state_dict(), **model.past.state_dict()}, strict=False)
    out = model(clip(), seeds=SEEDS)
    before = old(clip(), seeds=SEEDS, visible=out.selection.visible)
    assert not torch.allclose(before.token_error, out.token_error)
    expected = sampling_loss(out.selection, before.token_error - out.token_error)
    torch.testing.assert_close(out.losses["sampling"], expected)


def test_the_past_follows_at_each_update_and_at_no_other_time() -> None:
    model = pretrainer(sampling_reward="progress")
    before = {name: parameter.clone() for name, parameter in model.past.named_parameters()}
    now = dict(model.named_parameters())
    model.eval()(clip(), seeds=SEEDS)
    model.train()(clip(), seeds=SEEDS)
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.past.named_parameters())
    model.begin_update()
    for name, parameter in model.past.named_parameters():
        # A memory of about a hundred updates.
        torch.testing.assert_close(parameter, 0.99 * before[name] + 0.01 * now[name])
        assert not parameter.requires_grad


def test_progress_does_not_depend_on_accumulation() -> None:
    clips, seeds = clip(4), torch.arange(4)
    found = []
    for accumulation in (1, 2):
        model = pretrainer(sampling_reward="progress", sampling_weight=1.0).train()
        optimizer = build_optimizer(parameter_groups(model, 0.05))
        settings = EngineSettings(accumulation=accumulation)
        engine = TorchEngine(model, pretrain_objective, optimizer, world=World(), settings=settings)
        parts = zip(clips.chunk(accumulation), seeds.chunk(accumulation), strict=True)
        batches = [{"clip": part, "seed": seed} for part, seed in parts]
        found.append([engine.step(batches, lr=1e-4, weight_decay=0.05)["sampling"].item() for _ in range(3)])
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_only_the_sampler_learns_from_progress() -> None:
    model = pretrainer(sampling_reward="progress").train()
    noise = SampleNoise(SEEDS)
    pixels = model.pixels(clip())
    _, selection = model.select_tokens(pixels, noise.fold_in(0), None)
    error = torch.rand(selection.target.shape, requires_grad=True)
    model.sampling_loss(pixels, selection, error, noise).backward()
    assert error.grad is None
    touched = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert touched and all(name.startswith("sampler.") for name in touched)


def test_a_checkpoint_with_a_past_is_read_without_it(tmp_path: Path) -> None:
    model = pretrainer(sampling_reward="progress")
    torch.save({"model": model.state_dict()}, tmp_path / "checkpoint.pth")
    file = open_checkpoint(tmp_path / "checkpoint.pth")
    assert set(file.left_out) == {name for name in model.state_dict() if name.startswith("past.")}
    with_past, without = pretrainer(seed=1, sampling_reward="progress"), pretrainer(seed=1)
    for other in (with_past, without):
        load_weights(other, file)
        for name, value in other.state_dict().items():
            torch.testing.assert_close(value, model.state_dict()[name.removeprefix("past.")])
