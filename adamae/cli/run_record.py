"""What a training run says at the terminal, and the options that it lays beside what it makes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import adamae
from adamae.errors import UserError
from adamae.options.record import FILE_NAME, as_yaml, differences, flatten, read_options
from adamae.options.training import TrainingOptions

if TYPE_CHECKING:
    from adamae.checkpoints.store import Checkpoint
    from adamae.training.engine import Engine
    from adamae.training.loop import Outcome
    from adamae.training.plan import Plan


def say(*lines: str) -> None:
    """Tell the person something."""
    for line in lines:
        print(line, file=sys.stderr, flush=True)


def beginning(output: Path, options: TrainingOptions, checkpoint: Checkpoint | None, plan: Plan) -> Iterator[str]:
    """Where the run begins, and with which options that it did not have before."""
    if checkpoint is None:
        yield f"begins anew in {output}"
        return
    done = f"{plan.epochs_at(checkpoint.step):.4g} of {plan.epochs} epochs done"
    yield f"goes on from step {checkpoint.step}, {done}, {checkpoint.directory}"
    if (output / FILE_NAME).exists():
        changed = differences(read_options(output / FILE_NAME), flatten(options))
        if changed:
            yield f"with other options than before: {', '.join(changed)}"


def write_record(output: Path, options: TrainingOptions, engine: Engine, command: str, name: str) -> None:
    """Lay the resolved options beside the run, and the settings that DeepSpeed got.

    Args:
        output: The run's folder.
        options: All options.
        engine: What trains.
        command: What was typed.
        name: Name of the command.

    Raises:
        UserError: If they cannot be written.
    """
    comment = f"adamae {adamae.__version__}\n{command}\nTo repeat the run: adamae {name} --config {FILE_NAME}"
    resolved: Any = getattr(engine, "resolved_config", None)
    try:
        (output / FILE_NAME).write_text(as_yaml(options, comment), encoding="utf-8")
        if resolved is not None:
            (output / "deepspeed.json").write_text(json.dumps(resolved, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"{output}: the options cannot be written: {error.strerror}") from error


def ending(outcome: Outcome, output: Path) -> str:
    """How the run ended."""
    if outcome.signal is not None:
        return f"left at step {outcome.step} for {outcome.signal}; the same command goes on from there"
    return f"done: step {outcome.step}, in {output / 'checkpoints'}"
