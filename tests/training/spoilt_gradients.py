"""Program for one or more processes: steps with a gradient that is not finite, in every engine.

Each rank prints as JSON, by engine and accumulation, whether the run with these steps equals a run without them, and
the report of each of these steps.
"""

from __future__ import annotations

import json
import math
from typing import Any

import torch
from torch import Tensor

from adamae import distributed
from adamae.distributed import World
from adamae.training.engine import Engine
from tests.training.toy import build, losses, micro_batches

VALUES = (math.nan, math.inf, -math.inf)


def spoilt(engine: Engine, world: World) -> list[tuple[str, float, float, bool]]:
    """Take steps in which one element of one parameter's gradient is not finite on the last rank; the loss is finite.

    Returns:
        For each step: the parameter, the value, "skipped", and whether the norm is finite.
    """
    reports = []
    for name, parameter in engine.model.named_parameters():
        for value in VALUES:

            def spoil(gradient: Tensor, value: float = value) -> Tensor:
                changed = gradient.clone()
                changed.view(-1)[-1] = value
                return changed

            hook = parameter.register_hook(spoil) if world.rank == world.size - 1 else None
            report = engine.step(micro_batches(9, engine.accumulation, world), lr=1e-2, weight_decay=0.05)
            if hook is not None:
                hook.remove()
            reports.append((name, value, report["skipped"].item(), math.isfinite(report["grad_norm"].item())))
    return reports


def equal(engine: Engine, other: Engine) -> bool:
    """Return whether weights and optimiser state, the latter as on the main rank, are bitwise equal."""
    ours, theirs = engine.model.state_dict(), other.model.state_dict()
    states = [each.training_state().get("optimizer", {}) for each in (engine, other)]
    return all(torch.equal(ours[name], theirs[name]) for name in ours) and all(
        torch.equal(value, states[1][name][key]) for name, part in states[0].items() for key, value in part.items()
    )


def compare(world: World) -> dict[str, Any]:
    found = {}
    for name in ("plain", "zero0", "zero1", "zero2"):
        for accumulation in (1, 2):
            engine, clean = (build(name, world, accumulation=accumulation) for _ in range(2))
            if name in ("zero1", "zero2"):
                # DeepSpeed's own norm before 0.19.8 was finite even if the gradient was not.
                engine._zero.scaled_global_norm = lambda: torch.ones(())
            rows, expected = (losses(each, world, range(2)) for each in (engine, clean))
            reports = spoilt(engine, world)
            same = equal(engine, clean)
            rows, expected = (
                before + losses(each, world, range(2, 4)) for each, before in ((engine, rows), (clean, expected))
            )
            found[f"{name}/{accumulation}"] = [same and rows == expected and equal(engine, clean), reports]
            clean.close()
            engine.close()
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    the_world = distributed.start("cpu", timeout_seconds=60, group_of_one=True)
    print(json.dumps(compare(the_world)), flush=True)
    the_world.close()
