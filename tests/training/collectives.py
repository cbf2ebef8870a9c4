"""Record the collectives of one step of each engine, and their bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from adamae.distributed import World
from adamae.models import create_model
from adamae.training.adam_state import build_optimizer
from adamae.training.deepspeed import DeepSpeedEngine
from adamae.training.engine import Engine, EngineSettings
from adamae.training.objectives import pretrain_objective
from adamae.training.parameter_groups import parameter_groups
from adamae.training.torch_engine import TorchEngine

MODEL = {"img_size": 32, "num_frames": 4, "encoder_depth": 1, "decoder_depth": 1, "mask_ratio": 0.5}
# Bucket size in elements, for about one and a half million parameters; larger than any parameter, as in
# configs/deepspeed.
BUCKET = 600_000


class Collectives(TorchDispatchMode):
    """Records (operation of torch.distributed, bytes of its largest tensor) of everything that runs inside."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, int]] = []

    def __torch_dispatch__(self, func: Any, types: Sequence[type], args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "c10d":
            tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
            self.seen.append((func._schema.name.split("::")[-1], max((x.nbytes for x in tensors), default=0)))
        return func(*args, **(kwargs or {}))


def build(name: str, world: World, accumulation: int) -> Engine:
    """Build an engine by name: plain, or zero0 to zero2."""
    model = create_model("adamae_tiny", **MODEL).train()
    optimizer = build_optimizer(parameter_groups(model, 0.05))
    settings = EngineSettings(accumulation=accumulation)
    if name == "plain":
        return TorchEngine(model, pretrain_objective, optimizer, world=world, settings=settings)
    config = {"zero_optimization": {"stage": int(name[-1]), "reduce_bucket_size": BUCKET}}
    return DeepSpeedEngine(
        model, pretrain_objective, optimizer, world=world, config=config, batch_size=1, settings=settings
    )


def count_collectives(world: World) -> dict[str, list[tuple[str, int]]]:
    """Take two steps of each engine, by "name/micro-batches"; return the collectives of the second step."""
    batch = {"clip": torch.zeros(1, 4, 32, 32, 3, dtype=torch.uint8), "seed": torch.arange(1)}
    counted = {}
    for name, passes in (("plain", 1), ("zero0", 1), ("zero1", 2), ("zero2", 1), ("zero2", 2)):
        engine = build(name, world, passes)
        engine.step([batch] * passes, lr=1e-3, weight_decay=0.05)
        with Collectives() as step:
            engine.step([batch] * passes, lr=1e-3, weight_decay=0.05)
        counted[f"{name}/{passes}"] = step.seen
        engine.close()
    return counted
