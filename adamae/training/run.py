"""The environment of a training run: its output directory, the checkpoint it resumes from, and its limits."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from adamae.checkpoints.run_checkpoint import Checkpoint
from adamae.checkpoints.store import CheckpointStore
from adamae.distributed import World
from adamae.errors import UserError
from adamae.files import write_whole
from adamae.options.record import FILE_NAME, as_yaml, differences, flatten
from adamae.options.training import TrainingOptions
from adamae.options.yaml_files import read_mapping
from adamae.progress import say
from adamae.removed_options import without_idle
from adamae.training.engine import Engine
from adamae.training.resuming import JOB, ORIGIN, find_checkpoint, origin_named, origin_of
from adamae.training.run_lock import lock_directory
from adamae.training.run_logger import RunLogger
from adamae.training.schedules import Schedule
from adamae.version import __version__


@dataclass(frozen=True)
class Run:
    """What the training loop reads and writes besides the model.

    Attributes:
        schedule: The schedule, aligned with the checkpoint's position.
        store: Checkpoints of the run, written by the main rank.
        logger: Log of the run, written by the main rank.
        world: The processes of the run.
        resume: The checkpoint to resume from; None for a new run.
        origin: The ``--resume PATH`` of another run from which this run began; None without one.
        repeat_hint: How to start the run again, for messages.
        description: Entries of every checkpoint's ``meta.json``.
        max_bad_fraction: End with an error if a larger fraction of the videos cannot be read.
        max_skipped: End with an error after more than this many skipped steps in a row.
        quiet: Print no progress on the terminal.
    """

    schedule: Schedule
    store: CheckpointStore
    logger: RunLogger
    world: World
    resume: Checkpoint | None = None
    origin: str | None = None
    repeat_hint: str = "run the same command"
    description: Mapping[str, Any] = field(default_factory=dict)
    max_bad_fraction: float = 1.0
    max_skipped: int = 50
    quiet: bool = False

    @property
    def directory(self) -> Path:
        """The output directory."""
        return self.logger.directory

    def announce(self, options: TrainingOptions, *lines: str) -> None:
        """Print a description of the run, where it starts, and which options changed since it was last started."""
        if not self.world.is_main:
            return
        say(*lines)
        if self.resume is None:
            say(f"starting a new run in {self.directory}")
            return
        plan = self.schedule.plan
        done = f"{plan.epochs_at(self.resume.step):.4g} of {plan.epochs} epochs done"
        say(f"resuming from step {self.resume.step}, {done}, {self.resume.directory}")
        if (self.directory / FILE_NAME).exists():
            before = without_idle(read_mapping(self.directory / FILE_NAME))
            changed = differences(before, flatten(self._recorded(options)))
            if changed:
                say(f"changed options: {', '.join(changed)}")

    def _recorded(self, options: TrainingOptions) -> TrainingOptions:
        return options.for_any_processes(self.origin or "auto")

    def record(self, options: TrainingOptions, engine: Engine, command: str) -> None:
        """Write ``options.yaml``, a preset that repeats the run, and the resolved DeepSpeed settings.

        Raises:
            UserError: If the files cannot be written.
        """
        self.world.on_main(lambda: self._record(options, engine, command))

    def _record(self, options: TrainingOptions, engine: Engine, command: str) -> None:
        repeat = f"To repeat the run: adamae {options.command} --config {FILE_NAME}"
        comment = f"adamae {__version__}\n{command}\n{repeat}"
        resolved: Any = getattr(engine, "resolved_config", None)
        try:
            write_whole(self.directory / FILE_NAME, as_yaml(self._recorded(options), comment).encode())
            if resolved is not None:
                write_whole(self.directory / "deepspeed.json", json.dumps(resolved, indent=2).encode() + b"\n")
        except OSError as error:
            raise UserError(f"{self.directory}: the options cannot be written: {error.strerror}") from error


def open_run(
    options: TrainingOptions, model: nn.Module, config: Mapping[str, Any], schedule: Schedule, world: World
) -> Run:
    """Find the checkpoint to resume from, then open the output directory and lock it for this run.

    Args:
        options: Options of the run.
        model: The model to train.
        config: The model's config in checkpoints, see :func:`~adamae.checkpoints.network_config.describe_network`.
        schedule: Schedule of the run.
        world: The processes of the run.

    Raises:
        UserError: If checkpoints are damaged or belong to another run, or the directory cannot be written or is in use.
    """
    output = options.run.output
    store = CheckpointStore(output / "checkpoints", keep_last=options.run.keep_last)
    resume = options.run.resume or "auto"
    checkpoint, schedule = find_checkpoint(store, resume, model, config, schedule, world)
    origin = origin_of(store, checkpoint, resume)
    # Files are written only from here on.
    logger = world.on_main(lambda: RunLogger(output, options.log.log_dir or output / "tensorboard"))
    world.on_main(lambda: lock_directory(output))
    checkpoint = world.on_main(lambda: store.begin(checkpoint))
    arguments = options.for_any_processes(origin or "auto").arguments()
    known = {ORIGIN: origin, JOB: os.environ.get("SLURM_JOB_ID")}
    same = resume == "auto" or (origin is not None and origin == origin_named(resume))
    return Run(
        schedule=schedule,
        store=store,
        logger=logger,
        world=world,
        resume=checkpoint,
        origin=origin,
        repeat_hint=f"run the same command{'' if same else ' with --resume auto'}",
        description={
            "adamae": __version__,
            "model": config,
            "args": arguments,
            **{name: value for name, value in known.items() if value is not None},
        },
        max_bad_fraction=options.data.max_bad_fraction,
        max_skipped=options.log.max_skipped,
    )
