"""Program for two processes: run every engine on the same samples. Rank 0 prints the results as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

from adamae import distributed
from tests.training.collectives import count_collectives
from tests.training.tiny_run import NETWORKS, run
from tests.training.toy import build, losses


def compare(output: Path) -> dict[str, Any]:
    world = distributed.start("cpu", timeout_seconds=60, group_of_one=True)
    rows: dict[str, Any] = {}
    states = {}
    for name in ("plain", "zero0", "zero1", "zero2"):
        for accumulation in (1, 2):
            engine = build(name, world, accumulation=accumulation)
            rows[f"{name}/{accumulation}"] = losses(engine, world, range(10), poison=6)
            weights = {key: value.clone() for key, value in engine.model.state_dict().items()}
            states[name] = (weights, world.broadcast(engine.training_state()))
            rows[f"{name}/{accumulation}/on"] = losses(engine, world, range(10, 14))
            rows[f"{name}/{accumulation}/begun"] = engine.model.updates
            engine.close()
        engine = build(name, world, precision="fp16")
        rows[f"{name}/fp16"] = losses(engine, world, range(10), poison=6)
        engine.close()
    for saved_by, (weights, state) in states.items():
        for name in ("plain", "zero0", "zero2"):
            engine = build(name, world)
            engine.load(weights, state)
            rows[f"{saved_by}->{name}"] = losses(engine, world, range(10, 14))
            engine.close()
    for name in ("plain", "zero1"):
        for network in NETWORKS:
            folder = output / name / network
            ended = run(folder, engine=name, network=network, batch_size=2, max_steps=6, world=world)
            rows[f"{name}/{network}/run"] = ended.step
    rows["collectives"] = count_collectives(world)
    rank = world.rank
    world.close()
    return rows if rank == 0 else {}


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(compare(Path(sys.argv[1]))), flush=True)
