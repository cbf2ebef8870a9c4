"""A model and an objective small enough to check by hand, and functions to run engines on them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adamae.data.batch import Batch
from adamae.distributed import World
from adamae.training.adam_state import build_optimizer
from adamae.training.deepspeed import DeepSpeedEngine
from adamae.training.engine import Engine, EngineSettings, Losses
from adamae.training.parameter_groups import Group, parameter_groups
from adamae.training.torch_engine import TorchEngine

SAMPLES = 16


class Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner = nn.Linear(7, 13)
        self.norm = nn.LayerNorm(13)
        self.outer = nn.Linear(13, 3)
        self.updates = 0

    def begin_update(self) -> None:
        self.updates += 1

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(self.norm(torch.tanh(self.inner(x))))


def objective(model: nn.Module, batch: Batch, diagnose: bool) -> Losses:
    error = (model(batch["x"]) - batch["y"]).square().mean()
    return {"loss": error, "half": error.detach() / 2} | ({"watched": error.detach()} if diagnose else {})


def groups(model: Toy) -> list[Group]:
    """Return parameter groups; the inner layer has a quarter of the learning rate of all others."""
    return parameter_groups(model, 0.05, layer_decay=0.5, depth=1, first=("inner.weight", "inner.bias"))


def micro_batches(step: int, accumulation: int, world: World) -> list[Batch]:
    """Return this rank's part of the step's 16 samples, split into micro-batches as in the loader."""
    noise = torch.Generator().manual_seed(step)
    x, y = torch.randn(SAMPLES, 7, generator=noise), torch.randn(SAMPLES, 3, generator=noise)
    size = SAMPLES // accumulation // world.size
    begins = [(number * world.size + world.rank) * size for number in range(accumulation)]
    return [{"x": x[begin : begin + size], "y": y[begin : begin + size]} for begin in begins]


def build(
    engine: str, world: World, *, accumulation: int = 1, precision: str = "fp32", clip_grad: float = 1.0
) -> Engine:
    """Build an engine by name: plain, or zero0 to zero2."""
    model = Toy()
    optimizer = build_optimizer(groups(model))
    settings = EngineSettings(precision, clip_grad, accumulation)
    if engine == "plain":
        return TorchEngine(model, objective, optimizer, world=world, settings=settings)
    size = SAMPLES // accumulation // world.size
    config = {"zero_optimization": {"stage": int(engine[-1])}}
    return DeepSpeedEngine(model, objective, optimizer, world=world, config=config, batch_size=size, settings=settings)


def losses(engine: Engine, world: World, steps: range, poison: int = -1) -> list[list[float]]:
    """Return [loss, grad_norm, skipped] of each step, averaged over ranks; at ``poison`` one input is infinite."""
    rows = []
    for step in steps:
        batches = micro_batches(step, engine.accumulation, world)
        if step == poison and world.rank == world.size - 1:
            batches[0]["x"][0] = torch.inf
        report = engine.step(batches, lr=1e-2, weight_decay=0.05)
        row = torch.stack([report[name].float() for name in ("loss", "grad_norm", "skipped")])
        rows.append(world.mean(row).tolist())
    return rows
