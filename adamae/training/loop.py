"""The training loop: one for every objective, engine and number of processes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from time import perf_counter
from typing import Any, Protocol

import torch

from adamae.checkpoints.store import Checkpoint, CheckpointStore
from adamae.distributed import World
from adamae.training.device_prefetch import prefetched
from adamae.training.engine import Batch, Engine
from adamae.training.fault_log import FaultLog, Quarantine
from adamae.training.metrics import Averages, MetricAverager, Throughput
from adamae.training.plan import Plan
from adamae.training.preemption import Preemption
from adamae.training.progress import ProgressReport
from adamae.training.run_logger import Record, RunLogger

# (epoch, micro-batch of that epoch) -> this rank's micro-batches from there on, epoch after epoch without end
BatchStream = Callable[[int, int], Iterable[Batch]]


class Callback(Protocol):
    """Something that goes along with a run and is resumed with it: a moving average of the weights, a validation."""

    def after_step(self, step: int) -> None:
        """``step`` steps are completed."""

    def after_epoch(self, epoch: int) -> Mapping[str, float]:
        """The zero-based ``epoch`` is over; what is returned joins its line in the log. All ranks are called."""

    def state(self) -> dict[str, Any]:
        """What :meth:`load` takes: tensors, numbers, strings, and lists and dicts of them. The main rank is asked."""

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state; from an empty one where the checkpoint was written without this callback.

        What is kept of it is copied: its tensors lie in the checkpoint's file.
        """


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        step: Completed updates.
        signal: The signal that ended it early, None if it came to its planned end.
    """

    step: int
    signal: str | None = None


def train(
    *,
    engine: Engine,
    batches: BatchStream,
    plan: Plan,
    lr: Callable[[int], float],
    weight_decay: Callable[[int], float],
    store: CheckpointStore,
    logger: RunLogger,
    world: World,
    num_videos: int,
    resume: Checkpoint | None = None,
    description: Mapping[str, Any] | None = None,
    max_bad_fraction: float = 1.0,
    max_skipped: int = 50,
    quarantine: Quarantine | None = None,
    callbacks: Mapping[str, Callback] | None = None,
    quiet: bool = False,
) -> Outcome:
    """Train, log and save until the plan is done or a signal asks to leave.

    A run that was killed and goes on from its last checkpoint computes and logs the same numbers as one that was not:
    every step's randomness follows from the seed and the step alone, and what was logged beyond the checkpoint is
    taken back first.

    Args:
        engine: Does the updates.
        batches: Where micro-batches come from; each epoch has ``steps_per_epoch * engine.accumulation`` of them.
        plan: How long, and when to log and save.
        lr: Learning rate as a function of the plan's place, which is the completed updates.
        weight_decay: Likewise.
        store: Where checkpoints go; the main rank writes.
        logger: Where the log goes; the main rank writes.
        world: The processes of the run.
        num_videos: Videos in the list, of which ``max_bad_fraction`` may be bad.
        resume: The checkpoint to go on from.
        description: Goes into every checkpoint's ``meta.json``, so that it explains itself.
        max_bad_fraction: End with an error when a larger share of the videos cannot be used.
        max_skipped: End with an error after more skipped updates in a row.
        quarantine: Told the rows of videos that hung or crashed a loader worker of any rank, also before a resume.
        callbacks: What else lives with the run, by the name under which its state is saved.
        quiet: No progress on the terminal.

    Raises:
        UserError: If the disk is full, too many videos are bad, or too many updates are not finite.
    """
    faults = FaultLog(
        logger,
        world,
        num_videos=num_videos,
        max_bad_fraction=max_bad_fraction,
        max_skipped=max_skipped,
        quarantine=quarantine,
    )
    run = _Run(engine, plan, store, logger, world, faults, callbacks or {}, dict(description or {}))
    run.begin(resume)
    progress = ProgressReport(plan.last_step, run.step, silent=quiet or not world.is_main)
    # An error's traceback would keep the stream, and with it the loader's workers, alive.
    with Preemption(world) as preemption, progress, closing(run.micro_batches(batches)) as stream:
        while run.step < plan.last_step:
            run.advance(stream, lr(plan.place(run.step)), weight_decay(plan.place(run.step)))
            progress.advance(run.step)
            if plan.logs(run.step):
                progress.show(run.log())
            if plan.ends_epoch(run.step):
                run.log_epoch()
            leaving = preemption.wanted()
            if plan.saves(run.step) or leaving:
                run.save()
            if leaving and run.step < plan.last_step:
                return Outcome(run.step, preemption.name)
    return Outcome(run.step)


class _Run:
    """A run between two updates: where it stands, and what is done with it from there."""

    def __init__(
        self,
        engine: Engine,
        plan: Plan,
        store: CheckpointStore,
        logger: RunLogger,
        world: World,
        faults: FaultLog,
        callbacks: Mapping[str, Callback],
        description: dict[str, Any],
    ) -> None:
        self.step = 0
        self._engine = engine
        self._plan = plan
        self._store = store
        self._logger = logger
        self._world = world
        self._faults = faults
        self._callbacks = callbacks
        self._description = description
        self._metrics = MetricAverager(world)
        self._throughput = Throughput(world, engine.device)
        self._epoch_throughput = Throughput(world, engine.device)
        self._rates: dict[str, float] = {}

    def begin(self, checkpoint: Checkpoint | None) -> None:
        """Start anew, or go on from a checkpoint as if nothing had happened since."""
        if checkpoint is not None:
            saved = checkpoint.training()
            self.step = checkpoint.step
            self._engine.load(checkpoint.weights(), saved["engine"])
            self._metrics.load(saved["meter"])
            states = _by_name(saved["companions"], self._callbacks)
            for name, callback in self._callbacks.items():
                callback.load(states.get(name, {}))
        self._world.on_main(self._tidy)
        self._faults.resume()

    def _tidy(self) -> None:
        self._store.clean()
        self._logger.rewind(self.step, going_on=self.step < self._plan.last_step)

    def micro_batches(self, batches: BatchStream) -> Generator[Batch, None, None]:
        """The stream from where the run stands; not even opened when there is nothing left to do."""
        if self.step >= self._plan.last_step:
            return prefetched((), self._engine.device)
        epoch, step = divmod(self._plan.place(self.step), self._plan.steps_per_epoch)
        return prefetched(batches(epoch, step * self._engine.accumulation), self._engine.device)

    def advance(self, stream: Iterator[Batch], lr: float, weight_decay: float) -> None:
        """Do one update. Nothing here waits for the device."""
        asked = perf_counter()
        micro_batches = list(islice(stream, self._engine.accumulation))
        waited = perf_counter() - asked
        if len(micro_batches) < self._engine.accumulation:
            raise RuntimeError(f"the stream of batches ended at step {self.step} of {self._plan.last_step}")
        epoch = self._plan.place(self.step) // self._plan.steps_per_epoch
        torch.manual_seed(_step_seed(self._plan.seed, self.step, self._world.rank))
        values = self._engine.step(micro_batches, lr, weight_decay, diagnose=self._plan.logs(self.step + 1))
        self.step += 1
        self._rates = {"lr": lr, "weight_decay": weight_decay}
        self._metrics.add(self.step, values)
        self._faults.add(self.step, epoch, micro_batches)
        clips = sum(len(batch["index"]) for batch in micro_batches)
        for throughput in (self._throughput, self._epoch_throughput):
            throughput.add(clips, waited)
        for callback in self._callbacks.values():
            callback.after_step(self.step)

    def log(self) -> Record:
        """Write the line of the interval that ends here."""
        self._read()
        partial = {} if self.step % self._plan.log_every == 0 else {"partial": True}
        record = self._record("step", self._metrics.interval, self._throughput) | partial
        if not partial:
            self._metrics.interval = Averages()
        return self._write(record)

    def log_epoch(self) -> None:
        """Write the line of the epoch that ends here."""
        self._read()
        record = self._record("epoch", self._metrics.epoch, self._epoch_throughput)
        self._metrics.epoch = Averages()
        for callback in self._callbacks.values():
            record |= callback.after_epoch(record["epoch"])
        self._write(record)

    def save(self) -> None:
        """Write a checkpoint."""
        self._read()
        engine_state = self._engine.training_state()
        self._world.on_main(lambda: self._save(engine_state))

    def _save(self, engine_state: dict[str, Any]) -> None:
        self._logger.flush()
        state = {
            "engine": engine_state,
            "meter": self._metrics.state(),
            "companions": {name: callback.state() for name, callback in self._callbacks.items()},
        }
        plan = self._plan
        meta = {"epoch": plan.epochs_at(self.step), "steps_per_epoch": plan.steps_per_epoch, **self._description}
        self._store.save(self.step, self._engine.model.state_dict(), state, meta)

    def _read(self) -> None:
        left_out = self._metrics.read()
        self._faults.settle(left_out, self._metrics.skipped_in_a_row)

    def _record(self, kind: str, averages: Averages, throughput: Throughput) -> Record:
        epoch = self._plan.place(self.step - 1) // self._plan.steps_per_epoch
        skipped = {"skipped": self._metrics.skipped}
        return {
            "kind": kind,
            "step": self.step,
            "epoch": epoch,
            **averages.means(),
            **self._rates,
            **skipped,
            **throughput.lap(),
        }

    def _write(self, record: Record) -> Record:
        self._world.on_main(lambda: self._logger.write(record))
        return record


def _by_name(saved: Mapping[str, Any] | Sequence[Any], callbacks: Mapping[str, Callback]) -> Mapping[str, Any]:
    """The callbacks' states; before they had names they were listed, in the order that the commands still keep."""
    return saved if isinstance(saved, Mapping) else dict(zip(callbacks, saved, strict=False))


def _step_seed(seed: int, step: int, rank: int) -> int:
    """Torch's seed for one step of one rank, so that a resumed run needs no saved random state."""
    return ((seed * 1_000_003 + step) * 65_537 + rank) % 2**63
