"""The training loop, shared by all objectives, engines and numbers of processes."""

from __future__ import annotations

import signal as signals
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol

import torch

from adamae.checkpoints.run_checkpoint import Checkpoint
from adamae.data.batch import Batch
from adamae.errors import PreemptedError
from adamae.training.device_prefetch import prefetched
from adamae.training.engine import Engine
from adamae.training.fault_log import FaultLog
from adamae.training.metrics import Averages, MetricAverager, Throughput
from adamae.training.preemption import Preemption
from adamae.training.progress_bar import ProgressReport
from adamae.training.run import Run
from adamae.training.run_logger import Record


class BatchStream(Protocol):
    """This rank's micro-batches of a run."""

    @property
    def num_videos(self) -> int:
        """Number of videos in the list."""

    def rows_of(self, paths: Iterable[str]) -> Mapping[str, Sequence[int]]:
        """Return the rows of the list with each of these paths, by path."""

    def quarantine(self, rows: Iterable[int]) -> None:
        """Exclude the rows of videos that hung or crashed a loader worker of any rank, also before a resume."""

    def __call__(self, epoch: int, micro_batch: int) -> Iterable[Batch]:
        """Iterate over micro-batches from ``micro_batch`` of ``epoch`` on, over all following epochs without end."""


class Callback(Protocol):
    """Hooks of a run with a state that is saved and resumed, such as an EMA of the weights or a validation."""

    def after_step(self, step: int) -> None:
        """Called on all ranks after ``step`` completed steps."""

    def after_epoch(self, epoch: int) -> Mapping[str, float]:
        """Called on all ranks at the end of the zero-based ``epoch``; the returned values are added to its log line.

        Raises:
            PreemptedError: On all ranks, if they are asked to exit. The hook is called again when the run is resumed.
        """

    def state(self) -> dict[str, Any]:
        """Return the state for :meth:`load`: tensors, numbers, strings, lists, dicts. Called on the main rank."""

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state; it is empty if the checkpoint was written without this callback.

        Values to keep must be copied: the tensors are views of the checkpoint file.
        """


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        step: Completed updates.
        signal: Name of the signal that stopped the run early; None if it completed.
    """

    step: int
    signal: str | None = None

    @property
    def exit_code(self) -> int:
        """Return 0 for a completed run, otherwise 128 plus the signal's number, as shells do."""
        return 0 if self.signal is None else 128 + getattr(signals, self.signal, signals.SIGTERM)

    def describe(self, run: Run) -> str:
        """Describe in one line how the run ended."""
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
    """Train, log and save until the schedule is complete or a signal requests an exit.

    A run that is killed and resumed from its last checkpoint computes and logs the same numbers as an uninterrupted
    run. The randomness of a step depends only on the seed and the step, and log lines after the checkpoint are removed
    on resume.

    Args:
        engine: Performs the updates.
        batches: Source of micro-batches; each epoch has ``steps_per_epoch * engine.accumulation`` of them.
        run: The schedule, checkpoints, log and limits of the run.
        callbacks: Callbacks by the name under which their state is saved.
        preemption: An entered :class:`Preemption` that stays active after the training. By default a new one handles
            the signals during the training.

    Raises:
        UserError: If the disk is full, too many videos are bad, or too many updates are not finite.
    """
    plan = run.schedule.plan
    loop = _Loop(engine, batches, run, callbacks or {})
    loop.begin()
    progress = ProgressReport(plan.last_step, loop.step, silent=run.quiet or not run.world.is_main)
    # The stream is closed explicitly: an error's traceback would keep it and the loader's workers alive.
    scope = Preemption(run.world) if preemption is None else nullcontext(preemption)
    with scope as asked, progress, closing(loop.micro_batches()) as stream:
        try:
            if loop.epoch_log_pending:
                loop.log_epoch()
                loop.save()
            while loop.step < plan.last_step:
                loop.advance(stream)
                progress.advance(loop.step)
                if plan.logs(loop.step):
                    progress.show(loop.log())
                if plan.ends_epoch(loop.step):
                    loop.log_epoch()
                preempted = asked.agreed()
                if plan.saves(loop.step) or preempted:
                    loop.save()
                if preempted and loop.step < plan.last_step:
                    return Outcome(loop.step, asked.name)
        except PreemptedError:
            # A validation was interrupted; it is repeated on resume.
            loop.save()
            return Outcome(loop.step, asked.name)
    return Outcome(loop.step)


class _Loop:
    """State of a run between two updates, and the operations on it.

    Attributes:
        step: Completed updates.
        epoch_log_pending: Whether the epoch's log line is still to be written, as after an interrupted validation.
    """

    def __init__(self, engine: Engine, batches: BatchStream, run: Run, callbacks: Mapping[str, Callback]) -> None:
        self.step = 0
        self.epoch_log_pending = False
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
        """Start a new run, or restore the state of the run's checkpoint and remove what was logged after it."""
        checkpoint = self._run.resume
        if checkpoint is not None:
            saved = checkpoint.training()
            self.step = checkpoint.step
            # Some keys are older than the names in the code, see _save.
            self.epoch_log_pending = saved.get("in_epochs_end", False) or self._resume_completes_epoch(checkpoint)
            self._engine.load(checkpoint.weights(), saved["engine"])
            self._metrics.load(saved["meter"])
            states = _by_name(saved["companions"], self._callbacks)
            for name, callback in self._callbacks.items():
                callback.load(states.get(name, {}))
        self._world.on_main(self._rewind)
        self._faults.resume()

    def _resume_completes_epoch(self, checkpoint: Checkpoint) -> bool:
        """Return whether the checkpoint is from the middle of an epoch that has no step left in the present plan.

        So it is if the rest of the epoch, after a change of the global batch or the list, is shorter than a step.
        """
        epochs = float(checkpoint.meta.get("epoch") or 0)
        return self._plan.ends_epoch(self.step) and not epochs.is_integer()

    def _rewind(self) -> None:
        self._logger.rewind(
            self.step,
            run_continues=self.step < self._plan.last_step,
            epoch_log_pending=self.epoch_log_pending,
        )

    def micro_batches(self) -> Generator[Batch, None, None]:
        """Return the stream of micro-batches from the current step on. It is not opened if no steps are left."""
        if self.step >= self._plan.last_step:
            return prefetched((), self._engine.device)
        epoch, step = divmod(self._plan.schedule_step(self.step), self._plan.steps_per_epoch)
        return prefetched(self._batches(epoch, step * self._engine.accumulation), self._engine.device)

    def advance(self, stream: Iterator[Batch]) -> None:
        """Do one update without waiting for the device."""
        lr, weight_decay = self._run.schedule.rates(self.step)
        torch.manual_seed(_step_seed(self._plan.seed, self.step, self._world.rank))
        values = self._engine.step(self._take(stream), lr, weight_decay, diagnose=self._plan.logs(self.step + 1))
        self.step += 1
        self._metrics.add(self.step, values, cuts_interval=self._plan.cuts_interval(self.step))
        for callback in self._callbacks.values():
            callback.after_step(self.step)

    def _take(self, stream: Iterator[Batch]) -> Iterator[Batch]:
        """Yield the micro-batches of the current step and record them for the log."""
        epoch = self._plan.schedule_step(self.step) // self._plan.steps_per_epoch
        for _ in range(self._engine.accumulation):
            asked = perf_counter()
            # Random numbers that loading draws from torch's generator must not change those of the step.
            with torch.random.fork_rng(devices=()):
                batch = next(stream, None)
            if batch is None:
                raise RuntimeError(f"no more batches at step {self.step} of {self._plan.last_step}")
            for throughput in (self._throughput, self._epoch_throughput):
                throughput.add(len(batch["index"]), perf_counter() - asked)
            self._faults.add(self.step + 1, epoch, batch)
            yield batch

    def log(self) -> Record:
        """Write the log line of the interval that ends at this step."""
        self._read()
        record = self._record("step", self._metrics.interval, self._throughput)
        if self.step % self._plan.log_every == 0:
            self._metrics.interval = Averages()
        else:
            record |= {**self._metrics.extra, "partial": True}
        return self._write(record, provisional=self._plan.cuts_interval(self.step))

    def log_epoch(self) -> None:
        """Write the log line of the epoch that ends at this step."""
        self.epoch_log_pending = True
        self._read()
        record = self._record("epoch", self._metrics.epoch, self._epoch_throughput)
        for callback in self._callbacks.values():
            record |= callback.after_epoch(record["epoch"])
        self._metrics.epoch = Averages()
        self._write(record)
        self.epoch_log_pending = False

    def save(self) -> None:
        """Write a checkpoint."""
        self._read()
        engine_state = self._engine.training_state()
        self._world.on_main(lambda: self._save(engine_state))

    def _save(self, engine_state: dict[str, Any]) -> None:
        self._logger.flush()
        # "meter", "companions" and "in_epochs_end" are earlier names, kept so that old checkpoints can be resumed.
        state = {
            "engine": engine_state,
            "meter": self._metrics.state(),
            "companions": {name: callback.state() for name, callback in self._callbacks.items()},
            "in_epochs_end": self.epoch_log_pending,
        }
        plan = self._plan
        meta = {"epoch": plan.epochs_at(self.step), "steps_per_epoch": plan.steps_per_epoch, **self._run.description}
        self._run.store.save(self.step, self._engine.model.state_dict(), state, meta)

    def _read(self) -> None:
        left_out = self._metrics.read()
        self._faults.settle(left_out, self._metrics.skipped_in_a_row)

    def _record(self, kind: str, averages: Averages, throughput: Throughput) -> Record:
        epoch = self._plan.schedule_step(self.step - 1) // self._plan.steps_per_epoch
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

    def _write(self, record: Record, provisional: bool = False) -> Record:
        self._world.on_main(lambda: self._logger.write(record, provisional))
        return record


def _by_name(saved: Mapping[str, Any] | Sequence[Any], callbacks: Mapping[str, Callback]) -> Mapping[str, Any]:
    """Return the callbacks' states by name; old checkpoints have a list, in the order in which commands add them."""
    return saved if isinstance(saved, Mapping) else dict(zip(callbacks, saved, strict=False))


def _step_seed(seed: int, step: int, rank: int) -> int:
    """Return torch's seed for one step of one rank, so that a resumed run needs no saved random state."""
    return ((seed * 1_000_003 + step) * 65_537 + rank) % 2**63
