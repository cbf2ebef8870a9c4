"""Many steps: memory, open files and threads do not grow, and only steps with checkpoints are slow."""

from __future__ import annotations

import ctypes
import gc
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.faults.processes import expect, run
from tests.faults.runs import COMMANDS, videos
from tests.faults.trial import LostError, Trial

PROMISE = "20,000 steps: memory, files, threads within 5 % of those after 1,000; no step ten times the median"
STEPS = 20_000
# Step whose resources are compared with those at the end; at most half of the steps of a run.
SETTLED = 1_000
EPOCH = 3
# Slow steps of two runs within this distance count as the same: Python's garbage collections differ a little in time.
SAME = 3
RUN_SECONDS = 3500.0


def trials(seed: int, scale: float, shared: Path) -> list[Trial]:
    """Return trials of each command with everything enabled."""
    data = videos(shared)
    steps = max(60, round(STEPS * scale))
    more = ("--log_images_every", str(max(50, steps // 40)))
    return [
        Trial(
            f"{command}, {steps} steps",
            _trial(command, steps, data, more if command == "pretrain" else ()),
            seconds=2 * RUN_SECONDS + 100,
        )
        for command in (list(COMMANDS) if scale >= 1 else list(COMMANDS)[:1])
    ]


def _trial(command: str, steps: int, data: Path, more: tuple[str, ...]) -> Callable[[Path], None]:
    def body(folder: Path) -> None:
        lines = _notes(command, steps, data, more, folder / "first")
        first = next(line for line in lines if line["step"] >= min(SETTLED, steps // 2))
        last = lines[-1]
        for name, value in first["held"].items():
            if last["held"][name] > 1.05 * value:
                series = ", ".join(f"{line['held'][name]} after {line['step']}" for line in lines)
                raise LostError(
                    f"{name}: {value} after {first['step']} steps, {last['held'][name]} at the end: {series}"
                )
        if last["slow"]:
            # System work such as memory compaction is counted as ours, but does not recur in a second run.
            again = _notes(command, steps, data, more, folder / "again")[-1]["slow"]
            slow = [step for step in last["slow"] if any(abs(step[0] - other[0]) <= SAME for other in again)]
            if slow:
                raise LostError(f"steps slower than ten times the median in two runs: {slow[:5]}")

    return body


def _notes(command: str, steps: int, data: Path, more: tuple[str, ...], folder: Path) -> list[dict[str, Any]]:
    """Run a complete run and return its records of resources."""
    folder.mkdir()
    epochs = str(-(-steps // EPOCH))
    words = COMMANDS[command](data, folder / "run", "--epochs", epochs, "--save_ckpt_steps", str(max(20, steps // 40)))
    measure = _measure(folder / "noted", steps)
    expect(run([*words, *more, "--log_every", "10"], folder, before=measure, seconds=RUN_SECONDS))
    return [json.loads(line) for line in (folder / "noted").read_text().splitlines()]


def held() -> dict[str, int]:
    """Return resident memory in KiB, open files and threads of this process.

    Memory that Python and the C library would reuse is released first, as they return it at varying times.
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    (memory,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    files = len(list(Path("/proc/self/fd").iterdir()))
    return {"memory": int(memory.split()[1]), "files": files, "threads": threading.active_count()}


def _measure(noted: Path, steps: int) -> Callable[[int], object]:
    """Patch this process to record its resources after each twentieth of its steps, and the slow steps."""

    def before(rank: int) -> None:
        from adamae.training.torch_engine import TorchEngine

        whole, took = TorchEngine.step, []

        def timed(self: TorchEngine, *arguments: object, **named: object) -> object:
            # Processor time, which does not depend on other work on this machine.
            begun = time.process_time()
            values = whole(self, *arguments, **named)  # type: ignore[arg-type]
            took.append(time.process_time() - begun)
            if len(took) == steps or len(took) % (steps // 20) == 0:
                median = float(np.median(took))
                slow = [(step, value) for step, value in enumerate(took) if step > 5 and value > 10 * median]
                with noted.open("a") as file:
                    file.write(json.dumps({"step": len(took), "held": held(), "slow": slow}) + "\n")
            return values

        TorchEngine.step = timed  # type: ignore[method-assign, assignment]

    return before
