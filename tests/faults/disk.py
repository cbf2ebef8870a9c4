"""The disk fails at any write: the last complete checkpoint survives, and one line names the file that failed."""

from __future__ import annotations

import atexit
import errno
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from adamae.checkpoints.store import CheckpointStore
from tests.faults.disk_wrapper import arm, is_loaded, seen
from tests.faults.processes import expect, expect_one_line, run
from tests.faults.runs import COMMANDS, STEPS, expect_same, videos
from tests.faults.trial import LostError, Trial

PROMISE = "Disk full, read-only, removed, stale or with I/O errors: the last whole checkpoint survives"
FULL = 480
RESUMED = 48
# Error -> whether reading fails as well.
FAILURES = {"ENOSPC": False, "EDQUOT": False, "EROFS": False, "EIO": True, "ESTALE": True}
_NEVER = 2**60


def trials(seed: int, scale: float, shared: Path) -> list[Trial]:
    """Return trials with failures of each kind at any operation, a full disk at any byte, and a removed folder."""
    if not is_loaded():
        return []
    dice = random.Random(f"disk {seed}")
    data = videos(shared)
    made = []
    for command in COMMANDS:
        operations, size = _count(command, data, shared)
        kinds = [(name, place, False) for name in FAILURES for place in range(operations)]
        kinds += [("ENOSPC", place, True) for place in dice.sample(range(size), 100)]
        for name, place, by_bytes in dice.sample(kinds, min(len(kinds), max(2, round(FULL * scale / 2)))):
            made.append(_failing(command, name, place, by_bytes, data, shared))
        steps = dice.sample(range(1, STEPS + 1), max(1, min(STEPS, round(STEPS * scale))))
        again = random.Random(f"disk {seed} {command} resumed")
        for _ in range(max(1, round(RESUMED * scale / 2))):
            # A resume rewrites the log within its first operations.
            name, place = again.choice(list(FAILURES)), again.randrange(operations // 4)
            made.append(_failing(command, name, place, False, data, shared, resumed=True))
        made += [Trial(f"{command}, folder removed at step {step}", _removed(command, step, data)) for step in steps]
    return made


def reference(command: str, data: Path, shared: Path) -> Path:
    """Return the folder of a run without faults, made once."""
    output = shared / f"whole-{command}"
    if not output.exists():
        expect(run(COMMANDS[command](data, output), shared))
    return output


def _count(command: str, data: Path, shared: Path) -> tuple[int, int]:
    """Count the write operations and bytes of a complete run."""
    reference(command, data, shared)
    output, noted = shared / f"counted-{command}", shared / f"counts-{command}"
    if not noted.exists():

        def count(_: int) -> None:
            arm(output, _NEVER, errno.EIO)
            atexit.register(lambda: noted.write_text(" ".join(map(str, seen()))))

        expect(run(COMMANDS[command](data, output), shared, before=count))
    operations, size = map(int, noted.read_text().split())
    return operations, size


def _failing(
    command: str, name: str, place: int, by_bytes: bool, data: Path, shared: Path, *, resumed: bool = False
) -> Trial:
    def body(folder: Path) -> None:
        output, saved = folder / "run", folder / "saved"
        if resumed:
            expect(run(COMMANDS[command](data, output, "--max_steps", "2"), folder))

        def fail(_: int) -> None:
            note_saves(saved)
            arm(output, place, getattr(errno, name), by_bytes=by_bytes, reading=FAILURES[name])

        words = COMMANDS[command](data, output)
        (ended,) = run(words, folder, before=fail)
        if ended.code == 0 and "Traceback" not in ended.told:
            # The failed operation had no effect on the run.
            expect_same(output, reference(command, data, shared))
            return
        expect_one_line(ended, str(output))
        expect_survivor(output, saved)
        expect(run(words, folder))
        expect_same(output, reference(command, data, shared))

    which = "resumed, " if resumed else ""
    return Trial(f"{command}, {which}{name} from {'byte' if by_bytes else 'operation'} {place} on", body)


def _removed(command: str, place: int, data: Path) -> Callable[[Path], None]:
    """Remove the output folder: the run may continue or end with an error, but not with a traceback."""

    def body(folder: Path) -> None:
        output = folder / "run"

        def remove(_: int) -> None:
            at_step(place, lambda: shutil.rmtree(output))

        (ended,) = run(COMMANDS[command](data, output), folder, before=remove)
        if ended.code != 0 or "Traceback" in ended.told:
            expect_one_line(ended, str(output))

    return body


def note_saves(saved: Path) -> None:
    """Patch this process to record each checkpoint that it has saved."""
    save = CheckpointStore.save

    def noting(self: CheckpointStore, step: int, *arguments: object) -> Path:
        path = save(self, step, *arguments)  # type: ignore[arg-type]
        if self.directory.name == "checkpoints":
            saved.write_text(str(step))
        return path

    CheckpointStore.save = noting  # type: ignore[method-assign, assignment]


def expect_survivor(output: Path, saved: Path) -> None:
    """Raise LostError unless the newest checkpoint is at least as new as the last recorded one."""
    wanted = int(saved.read_text()) if saved.exists() else 0
    newest = CheckpointStore(output / "checkpoints").newest()
    found = 0 if newest is None else newest.step
    if found < wanted:
        raise LostError(f"the newest checkpoint is of step {found}, that of step {wanted} had been saved")


def at_step(step: int, action: Callable[[], object]) -> None:
    """Patch this process to call ``action`` before an update."""
    from adamae.training.torch_engine import TorchEngine

    count = 0
    whole = TorchEngine.step

    def counted(self: TorchEngine, *arguments: object, **named: object) -> object:
        nonlocal count
        count += 1
        if count == step:
            action()
        return whole(self, *arguments, **named)  # type: ignore[arg-type]

    TorchEngine.step = counted  # type: ignore[method-assign, assignment]
