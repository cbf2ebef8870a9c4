"""NaN or infinity on one rank: all ranks skip the step together, and it is counted and recorded."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from itertools import product
from pathlib import Path

import torch

from tests.faults.processes import expect, expect_one_line, run
from tests.faults.runs import COMMANDS, STEPS, log, videos, weights
from tests.faults.trial import LostError, Trial

PROMISE = "NaN or infinity in one rank: all skip the step, it is counted, samples recorded; too many end the run"
ENGINES = ("plain", "zero0", "zero1", "zero2")
PRECISIONS = ("fp32", "bf16", "fp16")
VALUES = {"NaN": math.nan, "infinity": math.inf}


def trials(seed: int, scale: float, shared: Path) -> list[Trial]:
    """Return trials with one bad step in each engine, precision and command, and trials with only bad steps."""
    data = videos(shared)
    kinds = list(product(COMMANDS, ENGINES, PRECISIONS, (1, 2)))
    dice = random.Random(f"numbers {seed}")
    dice.shuffle(kinds)
    # Cheap trials first, so that a small run contains all kinds of them.
    kinds.sort(key=lambda kind: (kind[3], kind[1] != "plain"))
    count = len(kinds) if scale >= 1 else max(2, round(len(kinds) * scale))
    one = [_one(*kind, dice.choice(list(VALUES)), data) for kind in kinds[:count]]
    every = [_every(command, engine, data) for command, engine in product(COMMANDS, ENGINES)]
    return one + (every if scale >= 1 else every[:1])


def _words(command: str, engine: str, precision: str, size: int, data: Path, output: Path) -> list[str | Path]:
    engines = ("plain",) if engine == "plain" else ("deepspeed", "--deepspeed_config", engine)
    more = ("--engine", *engines, "--precision", precision, "--batch_size", str(4 // size))
    return COMMANDS[command](data, output, *more)


def _one(command: str, engine: str, precision: str, size: int, value: str, data: Path) -> Trial:
    step = 3

    def body(folder: Path) -> None:
        output = folder / "run"

        def before(rank: int) -> None:
            if rank == size - 1:
                spoil(command, lambda count: count == step, VALUES[value])

        expect(run(_words(command, engine, precision, size, data, output), folder, size, before))
        last = log(output)[-1]
        # fp16 may skip further steps while the loss scale is adjusted.
        if last["skipped"] != 1 and not (precision == "fp16" and int(str(last["skipped"])) > 1):
            raise LostError(f"{last['skipped']} steps were counted as skipped, expected 1")
        if last["step"] != STEPS:
            raise LostError(f"the run ended at step {last['step']}")
        # Under fp16 a rank with a finite loss attributes the skipped step to a loss scale that is too large.
        for rank in [size - 1] if precision == "fp16" else range(size):
            path = output / "nonfinite" / f"step-{step:08d}-rank{rank}.json"
            if not path.exists() or len(set(json.loads(path.read_text())["index"])) != 4 // size:
                raise LostError(f"{path.name} does not record the samples of rank {rank}")
        if not all(
            bool(torch.isfinite(tensor).all()) for tensor in weights(output).values() if tensor.is_floating_point()
        ):
            raise LostError("weights are not finite")

    return Trial(f"{command}, {engine}, {precision}, {value} in one of {size} processes", body)


def _every(command: str, engine: str, data: Path) -> Trial:
    def body(folder: Path) -> None:
        output = folder / "run"
        words = _words(command, engine, "fp32", 1, data, output)
        (ended,) = run([*words, "--max_skipped", "2"], folder, before=_always(command))
        expect_one_line(ended, "consecutive steps had a non-finite loss", str(output / "nonfinite"))

    return Trial(f"{command}, {engine}, every step is spoilt", body)


def _always(command: str) -> Callable[[int], object]:
    return lambda rank: spoil(command, lambda count: True, math.nan)


def spoil(command: str, when: Callable[[int], bool], value: float) -> None:
    """Patch this process to multiply the loss of some updates by ``value``, which is not finite."""
    from adamae import finetune, pretrain
    from adamae.training import objectives

    count = 0

    def spoilt(losses: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        nonlocal count
        count += 1
        return {**losses, "loss": losses["loss"] * value} if when(count) else losses

    if command == "pretrain":
        whole = pretrain.pretrain_objective
        pretrain.pretrain_objective = lambda *given: spoilt(whole(*given))
        return
    call = objectives.FinetuneObjective.__call__
    finetune.FinetuneObjective.__call__ = lambda self, *given: spoilt(call(self, *given))  # type: ignore[method-assign]
