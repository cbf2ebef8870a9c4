"""The training loop: one for every objective, engine and number of processes."""

from __future__ import annotations

import signal as signals
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol

import torch

from adamae.errors import PreemptedError
from adamae.training.device_prefetch import prefetched
from adamae.training.engine import Batch, Engine
from adamae.training.fault_log import FaultLog
from adamae.training.metrics import Averages, MetricAverager, Throughput
from adamae.training.preemption import Preemption
from adamae.training.progress import ProgressReport
from adamae.training.run import Run
from adamae.training.run_logger import Record


class BatchStream(Protocol):
    """This rank's micro-batches of a run."""

    @property
    def num_videos(self) -> int:
        """Videos in the list."""

    def rows_of(self, paths: Iterable[str]) -> Mapping[str, Sequence[int]]:
        """The rows of the list that have each of these paths, by path."""

    def quarantine(self, rows: Iterable[int]) -> None:
        """Told the rows of videos that hung or crashed a loader worker of any rank, also before a resume."""

    def __call__(self, epoch: int, micro_batch: int) -> Iterable[Batch]:
        """The micro-batches from one of an epoch on, epoch after epoch without end."""


class Callback(Protocol):
    """Something that goes along with a run and is resumed with it: a moving average of the weights, a validation."""

    def after_step(self, step: int) -> None:
        """``step`` steps are completed."""

    def after_epoch(self, epoch: int) -> Mapping[str, float]:
        """The zero-based ``epoch`` is over; what is returned joins its line in the log. All ranks are called.

        Raises:
            PreemptedError: On all ranks, which are asked to exit. It is called again when the run is resumed.
        """

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

    @property
    def exit_code(self) -> int:
        """0 for a run that came to its end; 128 and the signal's number, as shells have it, for one that did not."""
        return 0 if self.signal is None else 128 + getattr(signals, self.signal, signals.SIGTERM)

    def describe(self, run: Run) -> str:
        """How the run ended, in one line."""
        if self.signal is not None:
            return f"stopped at step {self.step} by {self.signal}; {run.repeat_hint} to resume"
        return f"done: step {self.step}, in {run.store.directory}"


def train(
    engine: Engine,
    batches: BatchStream,
    run: Run,
    callbacks: Mapping[str, Callback] | None = None,
    preemption: Preemption | None = None,
) -> Outcome:
    """Train, log and save until the schedule is done or a signal asks to leave.

    A run that was killed and goes on from its last checkpoint computes and logs the same numbers as one that was not:
    every step's randomness follows from the seed and the step alone, and what was logged beyond the checkpoint is
    taken back first.

    Args:
        engine: Does the updates.
        batches: Where micro-batches come from; each epoch has ``steps_per_epoch * engine.accumulation`` of them.
        run: Its schedule, checkpoints, log and limits.
        callbacks: What else lives with the run, by the name under which its state is saved.
        preemption: An entered one that goes on after the training; by default signals are taken over for the training.

    Raises:
        UserError: If the disk is full, too many videos are bad, or too many updates are not finite.
    """
    plan = run.schedule.plan
    loop = _Loop(engine, batches, run, callbacks or {})
    loop.begin()
    progress = ProgressReport(plan.last_step, loop.step, silent=run.quiet or not run.world.is_main)
    # An error's traceback would keep the stream, and with it the loader's workers, alive.
    scope = Preemption(run.world) if preemption is None else nullcontext(preemption)
    with scope as asked, progress, closing(loop.micro_batches()) as stream:
        try:
            if loop.in_epochs_end:
                loop.log_epoch()
                loop.save()
            while loop.step < plan.last_step:
                loop.advance(stream)
                progress.advance(loop.step)
                if plan.logs(loop.step):
                    progress.show(loop.log())
                if plan.ends_epoch(loop.step):
                    loop.log_epoch()
                leaving = asked.wanted()
                if plan.saves(loop.step) or leaving:
                    loop.save()
                if leaving and loop.step < plan.last_step:
                    return Outcome(loop.step, asked.name)
        except PreemptedError:
            # A validation was left: the run is resumed with it.
            loop.save()
            return Outcome(loop.step, asked.name)
    return Outcome(loop.step)


class _Loop:
    """A run between two updates: where it stands, and what is done with it from there.

    Attributes:
        step: Completed updates.
        in_epochs_end: Whether the epoch's line has begun and is not written: a validation was left, on request.
    """

    def __init__(self, engine: Engine, batches: BatchStream, run: Run, callbacks: Mapping[str, Callback]) -> None:
        self.step = 0
        self.in_epochs_end = False
        self._engine = engine
        self._batches = batches
        self._run = run
        self._plan = run.schedule.plan
        self._logger = run.logger
        self._world = run.world
        self._callbacks = callbacks
        self._faults = FaultLog(
            run.logger,
            run.world,
            num_videos=batches.num_videos,
            rows_of=batches.rows_of,
            max_bad_fraction=run.max_bad_fraction,
            max_skipped=run.max_skipped,
            quarantine=batches.quarantine,
        )
        self._metrics = MetricAverager(run.world)
        self._throughput = Throughput(run.world, engine.device)
        self._epoch_throughput = Throughput(run.world, engine.device)

    def begin(self) -> None:
        """Start anew, or resume from the run's checkpoint as if nothing had happened since."""
        checkpoint = self._run.resume
        if checkpoint is not None:
            saved = checkpoint.training()
            self.step = checkpoint.step
            self.in_epochs_end = saved.get("in_epochs_end", False)
            self._engine.load(checkpoint.weights(), saved["engine"])
            self._metrics.load(saved["meter"])
            states = _by_name(saved["companions"], self._callbacks)
            for name, callback in self._callbacks.items():
                callback.load(states.get(name, {}))
        self._world.on_main(self._rewind)
        self._faults.resume()

    def _rewind(self) -> None:
        self._logger.rewind(self.step, going_on=self.step < self._plan.last_step, in_epochs_end=self.in_epochs_end)

    def micro_batches(self) -> Generator[Batch, None, None]:
        """The stream from where the run stands; not even opened when there is nothing left to do."""
        if self.step >= self._plan.last_step:
            return prefetched((), self._engine.device)
        epoch, step = divmod(self._plan.place(self.step), self._plan.steps_per_epoch)
        return prefetched(self._batches(epoch, step * self._engine.accumulation), self._engine.device)

    def advance(self, stream: Iterator[Batch]) -> None:
        """Do one update. Nothing here waits for the device."""
        lr, weight_decay = self._run.schedule.rates(self.step)
        torch.manual_seed(_step_seed(self._plan.seed, self.step, self._world.rank))
        values = self._engine.step(self._take(stream), lr, weight_decay, diagnose=self._plan.logs(self.step + 1))
        self.step += 1
        self._metrics.add(self.step, values)
        for callback in self._callbacks.values():
            callback.after_step(self.step)

    def _take(self, stream: Iterator[Batch]) -> Iterator[Batch]:
        """The micro-batches of the step under way, one by one; what the log needs of them is noted."""
        epoch = self._plan.place(self.step) // self._plan.steps_per_epoch
        for _ in range(self._engine.accumulation):
            asked = perf_counter()
            # Whatever loading draws from torch's generator, the step's own draws stay the same.
            with torch.random.fork_rng(devices=()):
                batch = next(stream, None)
            if batch is None:
                raise RuntimeError(f"no more batches at step {self.step} of {self._plan.last_step}")
            for throughput in (self._throughput, self._epoch_throughput):
                throughput.add(len(batch["index"]), perf_counter() - asked)
            self._faults.add(self.step + 1, epoch, batch)
            yield batch

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
        self.in_epochs_end = True
        self._read()
        record = self._record("epoch", self._metrics.epoch, self._epoch_throughput)
        for callback in self._callbacks.values():
            record |= callback.after_epoch(record["epoch"])
        self._metrics.epoch = Averages()
        self._write(record)
        self.in_epochs_end = False

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
            "in_epochs_end": self.in_epochs_end,
        }
        plan = self._plan
        meta = {"epoch": plan.epochs_at(self.step), "steps_per_epoch": plan.steps_per_epoch, **self._run.description}
        self._run.store.save(self.step, self._engine.model.state_dict(), state, meta)

    def _read(self) -> None:
        left_out = self._metrics.read()
        self._faults.settle(left_out, self._metrics.skipped_in_a_row)

    def _record(self, kind: str, averages: Averages, throughput: Throughput) -> Record:
        epoch = self._plan.place(self.step - 1) // self._plan.steps_per_epoch
        lr, weight_decay = self._run.schedule.rates(self.step - 1)
        return {
            "kind": kind,
            "step": self.step,
            "epoch": epoch,
            **averages.means(),
            "lr": lr,
            "weight_decay": weight_decay,
            "skipped": self._metrics.skipped,
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
