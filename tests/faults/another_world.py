"""A run resumes with another number of processes and another engine: the same samples, the same losses."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

from tests.faults.processes import expect, run
from tests.faults.runs import COMMANDS, STEPS, Words, log, videos
from tests.faults.trial import LostError, Trial
from tests.launching import ROOT, free_port
from tests.nodes import namespaces_permitted, two_nodes

PROMISE = "Another number of processes or another engine: same order of samples, losses equal to 1e-5"
SIZES = ((1, 2), (2, 1), (2, 4), (4, 2), (1, 4), (4, 1))
ENGINES = ("plain", "zero0", "zero1", "zero2")
TOLERANCE = 1e-5
# Number of trials, of 96 possible changes.
RUNS = 48
PAUSE = 4


def trials(seed: int, scale: float, shared: Path) -> list[Trial]:
    """Return trials of changes of world size with pairs of engines, alternately for both commands."""
    data = videos(shared)
    kinds = list(product(SIZES, ENGINES, ENGINES))
    random.Random(f"world {seed}").shuffle(kinds)
    kinds.sort(key=lambda kind: sum(kind[0]) + 4 * (kind[1:] != ("plain", "plain")) if scale < 1 else 0)
    count = min(len(kinds), max(1, round(RUNS * scale)))
    made = []
    for number, (sizes, before, after) in enumerate(kinds[:count]):
        command = list(COMMANDS)[number % 2]
        expected = shared / f"samples-{command}"
        if not expected.exists():
            expected.mkdir()
            _expect_run(command, 1, "plain", STEPS, data, expected)
        made.append(_trial(command, sizes, before, after, data, expected))
        if namespaces_permitted() and number < len(COMMANDS) and scale >= 1:
            made.append(_nodes(command, data, expected))
    return made


def _trial(command: str, sizes: tuple[int, int], before: str, after: str, data: Path, expected: Path) -> Trial:
    def body(folder: Path) -> None:
        _expect_run(command, sizes[0], before, PAUSE, data, folder)
        _expect_run(command, sizes[1], after, STEPS, data, folder)
        if _samples(folder) != _samples(expected):
            raise LostError(f"samples {_samples(folder)} instead of {_samples(expected)}")
        _expect_losses(folder, expected)

    return Trial(f"{command}, {sizes[0]} {before} to {sizes[1]} {after}", body, seconds=400)


def _nodes(command: str, data: Path, expected: Path) -> Trial:
    """A run on two machines with one process each, joined by torchrun's rendezvous, resumed by a single process."""

    def body(folder: Path) -> None:
        port, words = free_port(), [str(word) for word in _words(command, 2, "plain", PAUSE, data, folder)]
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc_per_node", "1"]
        torchrun += ["--rdzv_backend", "c10d", "--rdzv_endpoint", f"node1:{port}", "--rdzv_id", "world", "-m", "adamae"]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        with two_nodes(folder) as nodes:
            processes = [
                subprocess.Popen([*enter, *torchrun, *words], env=environment, stderr=subprocess.PIPE, text=True)
                for enter in nodes.values()
            ]
            told = [process.communicate(timeout=240)[1] for process in processes]
        for process, text in zip(processes, told, strict=True):
            if process.returncode:
                raise LostError(f"torchrun ended with {process.returncode}: {text[-1500:]}")
        _expect_run(command, 1, "plain", STEPS, data, folder)
        _expect_losses(folder, expected)

    return Trial(f"{command}, two machines by torchrun to 1 plain", body, seconds=400)


def _expect_losses(folder: Path, expected: Path) -> None:
    ours, theirs = (
        {entry["step"]: float(str(entry["loss"])) for entry in log(place / "run") if entry["kind"] == "step"}
        for place in (folder, expected)
    )
    differing = {step: (ours.get(step), loss) for step, loss in theirs.items() if not _close(ours.get(step), loss)}
    if differing:
        raise LostError(f"losses differ: {differing}")


def _close(one: float | None, other: float) -> bool:
    return one is not None and abs(one - other) <= TOLERANCE * max(1.0, abs(other))


def _words(command: str, size: int, engine: str, steps: int, data: Path, folder: Path) -> Words:
    engines = ("plain",) if engine == "plain" else ("deepspeed", "--deepspeed_config", engine)
    more = ["--engine", *engines, "--batch_size", str(4 // size), "--max_steps", str(steps)]
    if command == "finetune":
        # Mixing of a rank's clips depends on their number.
        more += ["--mixup", "0", "--cutmix", "0", "--drop", "0.1", "--fc_drop_rate", "0.5"]
    return COMMANDS[command](data, folder / "run", *more)


def _expect_run(command: str, size: int, engine: str, steps: int, data: Path, folder: Path) -> None:
    expect(run(_words(command, size, engine, steps, data, folder), folder, size, _noting(folder), seconds=180))


def _noting(folder: Path) -> Callable[[int], object]:
    """Patch each process to record the samples of its steps."""

    def before(rank: int) -> None:
        from adamae.training.fault_log import FaultLog

        add = FaultLog.add

        def noted(self: FaultLog, step: int, epoch: int, micro_batch: dict[str, Any]) -> None:
            with (folder / f"samples-{rank}").open("a") as file:
                file.write(json.dumps([step, rank, micro_batch["index"].tolist()]) + "\n")
            add(self, step, epoch, micro_batch)

        FaultLog.add = noted  # type: ignore[method-assign, assignment]

    return before


def _samples(folder: Path) -> dict[int, list[int]]:
    """Return the samples of each step, those of rank 0 first."""
    read = (json.loads(line) for path in folder.glob("samples-*") for line in path.read_text().splitlines())
    # The sort is stable, so a rank's micro-batches of a step keep their order.
    lines = sorted(read, key=lambda line: line[:2])
    found: dict[int, list[int]] = {}
    for step, _, rows in lines:
        found.setdefault(step, []).extend(rows)
    return found
