"""A run goes on with another number of processes and another engine: the same samples, the same losses."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from itertools import product
from pathlib import Path

from tests.faults.processes import expect, run
from tests.faults.runs import COMMANDS, STEPS, log, videos
from tests.faults.trial import LostError, Trial

PROMISE = "Another number of processes or another engine: same order of samples, losses equal to 1e-5"
SIZES = ((1, 2), (2, 1), (2, 4), (4, 2), (1, 4), (4, 1))
ENGINES = ("plain", "zero0", "zero1", "zero2")
TOLERANCE = 1e-5
# Of 96 changes.
RUNS = 48
PAUSE = 4


def trials(seed: int, scale: float, shared: Path) -> list[Trial]:
    """Changes of size with pairs of engines, in turn for both commands."""
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
    return made


def _trial(command: str, sizes: tuple[int, int], before: str, after: str, data: Path, expected: Path) -> Trial:
    def body(folder: Path) -> None:
        _expect_run(command, sizes[0], before, PAUSE, data, folder)
        _expect_run(command, sizes[1], after, STEPS, data, folder)
        if _samples(folder) != _samples(expected):
            raise LostError(f"samples {_samples(folder)} instead of {_samples(expected)}")
        ours, theirs = (
            {entry["step"]: float(str(entry["loss"])) for entry in log(place / "run") if entry["kind"] == "step"}
            for place in (folder, expected)
        )
        differing = {step: (ours.get(step), loss) for step, loss in theirs.items() if not _close(ours.get(step), loss)}
        if differing:
            raise LostError(f"losses differ: {differing}")

    return Trial(f"{command}, {sizes[0]} {before} to {sizes[1]} {after}", body, seconds=400)


def _close(one: float | None, other: float) -> bool:
    return one is not None and abs(one - other) <= TOLERANCE * max(1.0, abs(other))


def _expect_run(command: str, size: int, engine: str, steps: int, data: Path, folder: Path) -> None:
    engines = ("plain",) if engine == "plain" else ("deepspeed", "--deepspeed_config", engine)
    more = ["--engine", *engines, "--batch_size", str(4 // size), "--max_steps", str(steps)]
    if command == "finetune":
        # What is drawn for each rank, or mixes the clips of one rank, differs with their number.
        more += ["--drop_path", "0", "--mixup", "0", "--cutmix", "0"]
    expect(run(COMMANDS[command](data, folder / "run", *more), folder, size, _noting(folder), seconds=180))


def _noting(folder: Path) -> Callable[[int], object]:
    """Have each process write down the samples of its steps."""

    def before(rank: int) -> None:
        from adamae.training.fault_log import FaultLog

        add = FaultLog.add

        def noted(self: FaultLog, step: int, epoch: int, micro_batches: list[dict[str, object]]) -> None:
            rows = [row for batch in micro_batches for row in batch["index"].tolist()]  # type: ignore[attr-defined]
            with (folder / f"samples-{rank}").open("a") as file:
                file.write(json.dumps([step, rank, rows]) + "\n")
            add(self, step, epoch, micro_batches)

        FaultLog.add = noted  # type: ignore[method-assign, assignment]

    return before


def _samples(folder: Path) -> dict[int, list[int]]:
    """The samples of each step, those of rank 0 first."""
    lines = sorted(json.loads(line) for path in folder.glob("samples-*") for line in path.read_text().splitlines())
    found: dict[int, list[int]] = {}
    for step, _, rows in lines:
        found.setdefault(step, []).extend(rows)
    return found
