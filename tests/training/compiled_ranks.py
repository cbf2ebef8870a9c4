"""Program for several processes: train an autoencoder with activation checkpointing, compiled and not compiled.

Each rank prints as JSON its reports of some steps, by engine: without the compiler and with it.
"""

from __future__ import annotations

import functools
import json
import sys

import torch

from adamae import distributed
from adamae.data.batch import Batch
from adamae.distributed import World
from adamae.models import create_model
from adamae.training.adam_state import build_optimizer
from adamae.training.deepspeed import DeepSpeedEngine
from adamae.training.engine import Engine, EngineSettings
from adamae.training.objectives import pretrain_objective
from adamae.training.parameter_groups import parameter_groups
from adamae.training.torch_engine import TorchEngine
from tests.models.test_compile import TINY
from tests.models.test_pretrainer import clips


def build(name: str, world: World, compiled: bool) -> Engine:
    torch.manual_seed(0)
    # Large enough for several DDP buckets.
    model = create_model("adamae_tiny", **TINY).train()
    model.checkpoint_activations("all")
    optimizer = build_optimizer(parameter_groups(model, 0.05))
    settings = EngineSettings(accumulation=2, clip_grad=1.0, compile_model=compiled)
    if name == "plain":
        return TorchEngine(model, pretrain_objective, optimizer, world=world, settings=settings)
    config = {"zero_optimization": {"stage": 2}}
    return DeepSpeedEngine(
        model, pretrain_objective, optimizer, world=world, config=config, batch_size=2, settings=settings
    )


def steps(engine: Engine, world: World) -> list[list[float]]:
    torch.manual_seed(world.rank)
    rows = []
    for step in range(3):
        batches: list[Batch] = [{"clip": clips(2), "seed": torch.arange(2) + 10 * step} for _ in range(2)]
        report = engine.step(batches, lr=1e-3, weight_decay=0.05, diagnose=step == 1)
        rows.append([report[name].item() for name in ("loss", "grad_norm", "skipped")])
    engine.close()
    return rows


if __name__ == "__main__":
    # The default back end takes minutes on a CPU, and the behaviour under test is in the stages before it.
    torch.nn.Module.compile = functools.partialmethod(torch.nn.Module.compile, backend="aot_eager")
    the_world = distributed.start("cpu", timeout_seconds=60, group_of_one=True)
    print(
        json.dumps(
            {
                name: [steps(build(name, the_world, compiled), the_world) for compiled in (False, True)]
                for name in sys.argv[1:]
            }
        ),
        flush=True,
    )
    the_world.close()
