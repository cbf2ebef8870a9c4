"""SIGTERM and SIGUSR1 at any time: a checkpoint in time, the documented exit code, and an exact resume."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path

from adamae.checkpoints.store import CheckpointStore
from tests.faults.disk import at_step
from tests.faults.kill import ranks_reference, words
from tests.faults.processes import expect, run, start
from tests.faults.runs import STEPS, expect_same, log, videos
from tests.faults.trial import LostError, Trial

PROMISE = (
    "SIGTERM and SIGUSR1 to one rank or all, at any time: checkpoint in 10 s, exit code as documented, exact resume"
)
SECONDS = 10.0
SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
# When the signal is sent: before any file is written, in the first update, in a later one, in validation, in the test.
MOMENTS = {
    "pretrain": ("start-up", "first batch", "step"),
    "finetune": ("start-up", "first batch", "step", "validation", "test"),
}


def trials(seed: int, scale: float, shared: Path) -> list[Trial]:
    """Return trials of each signal at each moment, to a single process, to one of two, and to both."""
    dice = random.Random(f"preemption {seed}")
    data = videos(shared)
    kinds = [
        (command, moment, number, size, whom)
        for command, moments in MOMENTS.items()
        for moment, number, (size, whom) in product(moments, SIGNALS, ((1, "all"), (2, "all"), (2, "one")))
    ]
    dice.shuffle(kinds)
    kinds.sort(key=lambda kind: kind[3])
    chosen = kinds if scale >= 1 else kinds[: max(1, round(len(kinds) * scale))]
    return [_trial(*kind, dice.randrange(2, STEPS), data, shared) for kind in chosen]


def _trial(
    command: str, moment: str, number: signal.Signals, size: int, whom: str, step: int, data: Path, shared: Path
) -> Trial:
    expected = ranks_reference(command, size, "plain", data, shared)

    def body(folder: Path) -> None:
        output, moments = folder / "run", folder / "moment"
        line = words(command, size, "plain", data, output)
        receives = (lambda rank: True) if whom == "all" else (lambda rank: rank == size - 1)

        def before(rank: int) -> None:
            def reach() -> None:
                if moment in ("validation", "test"):
                    _score_slowly()
                if receives(rank):
                    _send(number, moments)

            at_moment(moment, step, reach)

        processes = start(line, folder, size, before)
        codes = [process.wait().code for process in processes]
        took = time.time() - moments.stat().st_mtime
        if took > SECONDS:
            raise LostError(f"it took {took:.1f} s from the signal to the end")
        newest = CheckpointStore(output / "checkpoints").newest() if output.exists() else None
        if command == "pretrain" and moment == "step" and (size, step) == (2, STEPS - 1):
            # Two processes agree on the preemption during the next step, which is the last, so the run is complete.
            if codes != [0, 0]:
                raise LostError(f"a complete run ended with {codes}")
        else:
            _expect_codes(codes, moment, number, whom, size)
        logged = [int(str(entry["step"])) for entry in log(output)] if output.exists() else []
        if moment != "start-up" and (newest is None or newest.step < max(logged, default=1)):
            raise LostError(f"logged up to step {max(logged, default=0)}, checkpoint {newest and newest.step}")
        expect(run(line, folder, size))
        expect_same(output, expected)

    return Trial(f"{command}, {number.name} to {whom} of {size} at {moment}, step {step}", body)


def _send(number: int, moments: Path) -> None:
    moments.touch()
    os.kill(os.getpid(), number)


def _expect_codes(codes: list[int], moment: str, number: int, whom: str, size: int) -> None:
    """Check the exit codes: 128 plus the signal's number, as a shell reports a process ended by a signal."""
    own = {128 + number, -number}
    for rank, code in enumerate(codes):
        received = whom == "all" or rank == size - 1
        # A rank that did not receive the signal learns of it from the others and exits as after SIGTERM; before the
        # training, it only notices that the other rank has ended.
        at_start = {1, 2, -signal.SIGALRM, -signal.SIGABRT}
        others = at_start if moment == "start-up" else {128 + signal.SIGTERM}
        if code not in (own if received else others):
            raise LostError(f"rank {rank} ended with {code} after {signal.Signals(number).name}")


def _score_slowly() -> None:
    """Make a validation or test last longer than a preempted run may take to exit."""
    from adamae.evaluation import scoring

    groups, forward = scoring.groups_of_rows, scoring.forward_in_batches

    def slow(*arguments: object) -> object:
        time.sleep(0.25)
        return forward(*arguments)  # type: ignore[arg-type]

    scoring.groups_of_rows = lambda *given: groups(*given) * 100
    scoring.forward_in_batches = slow  # type: ignore[assignment]


def at_moment(moment: str, step: int, action: Callable[[], None]) -> None:
    """Patch this process to call ``action`` once at a moment of a run."""
    if moment in ("first batch", "step"):
        at_step(1 if moment == "first batch" else step, action)
        return
    from adamae import finetune
    from adamae.training import run
    from adamae.training.validation import Validation

    owner, name = {
        "start-up": (run, "find_checkpoint"),
        "validation": (Validation, "after_epoch"),
        "test": (finetune, "_test"),
    }[moment]
    whole = getattr(owner, name)

    def acting(*arguments: object, **named: object) -> object:
        setattr(owner, name, whole)
        action()
        return whole(*arguments, **named)

    setattr(owner, name, acting)
