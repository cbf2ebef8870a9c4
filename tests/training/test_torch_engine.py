"""The plain engine against a training step written out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from adamae.distributed import World
from adamae.errors import UserError
from adamae.training.adam_state import build_optimizer
from adamae.training.engine import EngineSettings
from adamae.training.parameter_groups import parameter_groups
from adamae.training.step_guard import StepGuard
from adamae.training.torch_engine import TorchEngine
from tests.training.toy import Toy, build, groups, losses, micro_batches, objective

WORLD = World()


def by_hand(clip_grad: float, steps: int) -> tuple[nn.Module, list[float], list[float]]:
    model = Toy()
    rates = [
        {"params": [model.inner.weight], "weight_decay": 0.05, "lr": 1e-2 / 4},
        {"params": [model.inner.bias], "weight_decay": 0.0, "lr": 1e-2 / 4},
        {"params": [model.outer.weight], "weight_decay": 0.05, "lr": 1e-2},
        {"params": [*model.norm.parameters(), model.outer.bias], "weight_decay": 0.0, "lr": 1e-2},
    ]
    optimizer = torch.optim.AdamW(rates, betas=(0.9, 0.95), foreach=False)
    values, norms = [], []
    for step in range(steps):
        (batch,) = micro_batches(step, 1, WORLD)
        loss = (model(batch["x"]) - batch["y"]).square().mean()
        loss.backward()
        norms.append(nn.utils.clip_grad_norm_(model.parameters(), clip_grad or torch.inf).item())
        optimizer.step()
        optimizer.zero_grad()
        values.append(loss.item())
    return model, values, norms


@pytest.mark.parametrize("clip_grad", [0.0, 0.5])
def test_steps_equal_those_written_out_by_hand(clip_grad: float) -> None:
    model, values, norms = by_hand(clip_grad, 10)
    engine = build("plain", WORLD, clip_grad=clip_grad)
    rows = losses(engine, WORLD, range(10))
    assert [row[0] for row in rows] == pytest.approx(values, rel=1e-6)
    assert [row[1] for row in rows] == pytest.approx(norms, rel=1e-6)
    for ours, theirs in zip(engine.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("accumulation", [2, 4])
def test_accumulation_equals_one_batch(accumulation: int) -> None:
    expected = losses(build("plain", WORLD), WORLD, range(10))
    rows = losses(build("plain", WORLD, accumulation=accumulation), WORLD, range(10))
    assert [row[:2] for row in rows] == [pytest.approx(row[:2], rel=1e-5) for row in expected]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_step_that_is_not_finite_leaves_everything_as_it_was(precision: str) -> None:
    engine = build("plain", WORLD, precision=precision)
    losses(engine, WORLD, range(3))
    weights = {name: value.clone() for name, value in engine.model.state_dict().items()}
    state = engine.training_state()["optimizer"]
    (row,) = losses(engine, WORLD, range(3, 4), poison=3)
    assert row[2] == 1
    after = engine.training_state()["optimizer"]
    assert all(torch.equal(engine.model.state_dict()[name], value) for name, value in weights.items())
    assert all(torch.equal(after[name][key], value) for name, part in state.items() for key, value in part.items())
    assert losses(engine, WORLD, range(4, 5))[0][2] == 0


def test_a_loss_that_is_not_finite_is_noticed_though_its_gradient_is() -> None:
    model = nn.Linear(1, 1)
    optimizer = build_optimizer(parameter_groups(model, 0.0))
    engine = TorchEngine(model, lambda m, b, d: {"loss": m(b["x"]).sum() + torch.inf}, optimizer, world=WORLD)
    before = model.weight.clone()
    assert engine.step([{"x": torch.ones(1, 1)}], 0.1, 0.0)["skipped"] == 1
    assert torch.equal(model.weight, before)


def test_precisions_follow_each_other() -> None:
    exact = [row[0] for row in losses(build("plain", WORLD), WORLD, range(10))]
    for precision in ("bf16", "fp16"):
        rows = losses(build("plain", WORLD, precision=precision), WORLD, range(10))
        assert [row[0] for row in rows] == pytest.approx(exact, rel=1e-2)


def test_the_loss_scale_halves_at_an_overflow_and_doubles_after_a_while() -> None:
    parameter = nn.Parameter(torch.ones(1))
    guard = StepGuard(torch.optim.AdamW([parameter], fused=True), torch.device("cpu"), 0.0, loss_scaling=True)
    assert guard.scaled(torch.tensor(2.0)) == 2 * 65536
    assert guard.arm(torch.tensor(torch.inf))["skipped"] == 1
    assert guard.state()["scale"] == 32768
    for _ in range(StepGuard.GROWTH_INTERVAL):
        assert guard.arm(torch.tensor(32768.0))["grad_norm"] in (1.0, 0.5)
    assert guard.state()["scale"] == 65536


def test_a_loss_scale_of_one_is_gone_on_with_and_none_is_not() -> None:
    def guard(loss_scaling: bool) -> StepGuard:
        optimizer = torch.optim.AdamW([nn.Parameter(torch.ones(1))], fused=True)
        return StepGuard(optimizer, torch.device("cpu"), 0.0, loss_scaling=loss_scaling)

    scaled, plain = guard(True), guard(False)
    while scaled.state()["scale"] != 1:
        scaled.arm(torch.tensor(torch.inf))
    scales = {}
    for name, state in {"scaled": scaled.state(), "plain": plain.state()}.items():
        before = {
            key: value for key, value in state.items() if key != "scaling"
        }  # of a checkpoint before that was kept
        for kind, saved in (("now", state), ("before", before)):
            resumed = guard(True)
            resumed.load(saved)
            scales[name, kind] = resumed.state()["scale"].item()
    # Before it was kept, both were taken for a run without a scale.
    first = StepGuard.INITIAL_SCALE
    assert scales == {
        ("scaled", "now"): 1,
        ("plain", "now"): first,
        ("scaled", "before"): first,
        ("plain", "before"): first,
    }


def test_state_goes_on_exactly() -> None:
    engine = build("plain", WORLD, precision="fp16")
    losses(engine, WORLD, range(4))
    weights = {name: value.clone() for name, value in engine.model.state_dict().items()}
    state = engine.training_state()
    expected = losses(engine, WORLD, range(4, 8))
    other = build("plain", WORLD, precision="fp16")
    other.load(weights, state)
    assert losses(other, WORLD, range(4, 8)) == expected


def test_named_parts_and_diagnoses() -> None:
    engine = build("plain", WORLD, accumulation=2)
    report = engine.step(micro_batches(0, 2, WORLD), 0.0, 0.0, diagnose=True)
    assert report.keys() == {"loss", "half", "watched", "grad_norm", "skipped"}
    assert report["half"] == report["loss"] / 2
    assert not any(value.requires_grad for value in report.values())


def test_unknown_precision() -> None:
    model = Toy()
    optimizer = build_optimizer(parameter_groups(model, 0.0))
    with pytest.raises(UserError, match=r"precision 'int8': expected one of fp32, bf16, fp16"):
        TorchEngine(model, objective, optimizer, world=WORLD, settings=EngineSettings(precision="int8"))


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_nothing_in_a_step_waits_for_the_gpu(precision: str) -> None:
    device = torch.device("cuda", 0)
    model = Toy().to(device)
    optimizer = build_optimizer(parameter_groups(model, 0.05))
    settings = EngineSettings(precision=precision, clip_grad=1.0, accumulation=2)
    engine = TorchEngine(model, objective, optimizer, world=World(device=device), settings=settings)
    batches = [[{k: v.to(device) for k, v in batch.items()} for batch in micro_batches(s, 2, WORLD)] for s in range(3)]
    engine.step(batches[0], 1e-2, 0.05)
    torch.cuda.set_sync_debug_mode("error")
    try:
        reports = [engine.step(step, 1e-2, 0.05) for step in batches[1:]]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert [report["skipped"].item() for report in reports] == [0, 0]


@pytest.mark.slow
def test_compiled_steps_equal_the_others() -> None:
    model = Toy()
    optimizer = build_optimizer(groups(model))
    settings = EngineSettings(clip_grad=1.0, compile_model=True)
    engine = TorchEngine(model, objective, optimizer, world=WORLD, settings=settings)
    expected = losses(build("plain", WORLD), WORLD, range(3))
    assert losses(engine, WORLD, range(3)) == [pytest.approx(row, rel=1e-5) for row in expected]
    assert list(model.state_dict()) == list(Toy().state_dict())
