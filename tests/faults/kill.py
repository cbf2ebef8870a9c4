"""SIGKILL at any moment: the run resumes automatically and is bitwise equal to an uninterrupted run."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from itertools import cycle, islice, product
from pathlib import Path

from tests.faults.disk import reference
from tests.faults.disk_wrapper import arm, is_loaded
from tests.faults.processes import Process, expect, run, start
from tests.faults.runs import COMMANDS, expect_same, videos
from tests.faults.trial import LostError, Trial

PROMISE = "SIGKILL at random moments, of one rank or all: the resumed run equals an uninterrupted one bit for bit"
RUNS = 50
ENGINES = {"plain": (), "zero1": ("--engine", "deepspeed", "--deepspeed_config", "zero1")}
# Seconds within which the other ranks must detect that a rank has ended.
LIMIT = 60.0


def trials(seed: int, scale: float, shared: Path) -> list[Trial]:
    """Return trials of both commands and engines with one to three processes, killed at different moments."""
    dice = random.Random(f"kill {seed}")
    data = videos(shared)
    kinds = list(product(COMMANDS, (1, 2, 3), ENGINES, ("moment", "write", "epoch")))
    dice.shuffle(kinds)
    # Cheap trials first, so that a small run contains all kinds of them.
    kinds.sort(key=lambda kind: (kind[1], kind[2] != "plain"))
    chosen = islice(cycle(kinds), max(1, round(RUNS * scale)))
    return [_trial(number, *kind, dice.random(), data, shared) for number, kind in enumerate(chosen)]


def ranks_reference(command: str, size: int, engine: str, data: Path, shared: Path) -> Path:
    """Return the folder of an uninterrupted run, which the first trial that needs it makes."""
    output = shared / f"whole-{command}-{size}-{engine}"
    if size == 1 and engine == "plain":
        return reference(command, data, shared)
    if not output.exists():
        output.mkdir()
        expect(run(words(command, size, engine, data, output), output, size))
    return output


def words(command: str, size: int, engine: str, data: Path, output: Path) -> list[str | Path]:
    """Return the command's arguments, with the same global batch for one and two processes."""
    return COMMANDS[command](data, output, "--batch_size", str(4 // size), *ENGINES[engine])


def _trial(
    number: int, command: str, size: int, engine: str, moment: str, chance: float, data: Path, shared: Path
) -> Trial:
    victim = None if number % 2 else number // 2 % size
    whose = "all" if victim is None else f"rank {victim}"
    if moment == "write" and not is_loaded():
        moment = "moment"
    expected = ranks_reference(command, size, engine, data, shared)

    def body(folder: Path) -> None:
        output = folder / "run"
        line = words(command, size, engine, data, output)
        before = _armed(moment, chance, output)
        processes = start(line, folder, size, before)
        if moment == "moment":
            _wait_for_life(processes, output)
            time.sleep(1.5 * chance)
        else:
            while all(process.code() is None for process in processes):
                time.sleep(0.005)
        for rank, process in enumerate(processes):
            if victim in (None, rank):
                process.send(signal.SIGKILL)
        begun = time.monotonic()
        for process in processes:
            process.wait(max(1.0, begun + LIMIT - time.monotonic()))
        expect(run(line, folder, size))
        expect_same(output, expected)

    return Trial(f"{number}: {command}, {size} processes, {engine}, {moment} {chance:.3f}, {whose}", body)


def _armed(moment: str, chance: float, output: Path) -> Callable[[int], object]:
    """Return a function that lets the main rank die in a write, or before or after an epoch's log line."""

    def before(rank: int) -> None:
        if rank == 0 and moment == "write":
            # A run of six steps does about 400 file operations.
            arm(output, int(30 + 350 * chance), -signal.SIGKILL)
        if rank == 0 and moment == "epoch":
            from adamae.training.loop import _Loop

            log_epoch = _Loop.log_epoch

            def dying(self: _Loop) -> None:
                if chance < 0.5:
                    os.kill(os.getpid(), signal.SIGKILL)
                log_epoch(self)
                os.kill(os.getpid(), signal.SIGKILL)

            _Loop.log_epoch = dying  # type: ignore[method-assign]

    return before


def _wait_for_life(processes: list[Process], output: Path) -> None:
    """Wait until the run has logged a step or ended."""
    deadline = time.monotonic() + LIMIT
    while not (output / "log.jsonl").exists() and any(process.code() is None for process in processes):
        if time.monotonic() > deadline:
            raise LostError(f"no step was logged: {processes[0].told()[-600:]}")
        time.sleep(0.005)
