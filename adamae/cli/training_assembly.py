"""The parts that every training run has, each built from its options, and how they are put to work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from adamae.checkpoints.store import Checkpoint, CheckpointStore
from adamae.cli.machine import choose_engine, choose_precision, choose_workers
from adamae.data.dataset import ClipDataset
from adamae.data.loader import BatchKeys, build_loader
from adamae.distributed import World
from adamae.errors import UserError
from adamae.options.training import TrainingOptions
from adamae.training.engine import Engine, Objective, build_optimizer
from adamae.training.fault_log import Quarantine
from adamae.training.loop import BatchStream, Callback, Outcome, train
from adamae.training.parameter_groups import Group
from adamae.training.plan import Plan
from adamae.training.run_logger import RunLogger
from adamae.training.schedules import CosineSchedule, count_warmup_steps, scaled_lr
from adamae.training.torch_engine import TorchEngine


@dataclass(frozen=True)
class TrainingParts:
    """What every run is made of.

    Attributes:
        engine: Trains the model.
        plan: How long.
        lr: Learning rate by step.
        weight_decay: Likewise.
        stream: This rank's batches.
        num_videos: Videos in the list that they come from.
        quarantine: Takes rows whose videos the stream does not open again.
    """

    engine: Engine
    plan: Plan
    lr: CosineSchedule
    weight_decay: CosineSchedule
    stream: BatchStream
    num_videos: int
    quarantine: Quarantine


def build_engine(
    options: TrainingOptions, model: nn.Module, objective: Objective, groups: Sequence[Group], world: World
) -> Engine:
    """The engine that trains ``model``.

    Args:
        options: Say which engine, and how.
        model: What is trained, on the world's device.
        objective: Turns a batch into losses.
        groups: From :func:`~adamae.training.parameter_groups.parameter_groups`.
        world: The processes of the run.

    Raises:
        UserError: If DeepSpeed is asked for and missing, or refuses its settings.
    """
    optimizer = build_optimizer(groups, betas=options.optimizer.opt_betas, eps=options.optimizer.opt_eps)
    shared: dict[str, Any] = {
        "world": world,
        "precision": choose_precision(options.run.precision, world.device),
        "clip_grad": options.optimizer.clip_grad or 0.0,
        "accumulation": options.passes,
        "compile_model": options.run.compile,
    }
    if choose_engine(options.run.engine, world.size) == "plain":
        return TorchEngine(model, objective, optimizer, **shared)
    from adamae.training.deepspeed import DeepSpeedEngine, read_config

    config = read_config(options.run.deepspeed_file)
    return DeepSpeedEngine(model, objective, optimizer, config=config, batch_size=options.clips_per_pass, **shared)


def make_plan(options: TrainingOptions, num_videos: int, world_size: int) -> Plan:
    """How long the run is.

    Raises:
        UserError: If there are fewer videos than a step takes.
    """
    taken = options.clips_per_step(world_size) // options.clips_per_video
    if taken > num_videos:
        parts = f"{world_size} processes, --batch_size {options.data.batch_size}, {options.passes} passes"
        raise UserError(f"a step takes {taken} videos ({parts}) and there are {num_videos}: expected a smaller step")
    keys = BatchKeys(
        num_videos,
        options.data.batch_size,
        world_size=world_size,
        accumulation=options.passes,
    )
    return Plan(
        epochs=options.optimizer.epochs,
        steps_per_epoch=keys.steps_per_epoch,
        max_steps=options.optimizer.max_steps or 0,
        log_every=options.log.log_every,
        save_every_epochs=options.run.save_ckpt_freq,
        save_every_steps=options.run.save_ckpt_steps,
        seed=options.run.seed,
    )


def make_schedules(options: TrainingOptions, plan: Plan, world_size: int) -> tuple[CosineSchedule, CosineSchedule]:
    """Learning rate and weight decay over the steps of the run.

    Raises:
        UserError: If the warm-up is longer than the run.
    """
    optimizer, total = options.optimizer, options.clips_per_step(world_size)
    warmup = count_warmup_steps(options.warmup_epochs, optimizer.warmup_steps, plan.steps_per_epoch)
    peak, last = scaled_lr(optimizer.lr, total), scaled_lr(optimizer.min_lr, total)
    decay = optimizer.weight_decay
    decay_end = decay if optimizer.weight_decay_end is None else optimizer.weight_decay_end
    steps = plan.scheduled_steps
    return CosineSchedule(peak, last, steps, warmup), CosineSchedule(decay, decay_end, steps)


def make_stream(options: TrainingOptions, dataset: ClipDataset, world: World) -> BatchStream:
    """This rank's batches, from any place of the run on."""
    workers = choose_workers(options.data)
    return lambda epoch, batch: build_loader(
        dataset,
        batch_size=options.data.batch_size,
        world_size=world.size,
        rank=world.rank,
        accumulation=options.passes,
        epoch=epoch,
        batch=batch,
        num_workers=workers,
        pin_memory=options.data.pin_mem and world.device.type == "cuda",
    )


def train_parts(
    options: TrainingOptions,
    parts: TrainingParts,
    *,
    store: CheckpointStore,
    logger: RunLogger,
    world: World,
    resume: Checkpoint | None,
    description: Mapping[str, Any],
    callbacks: Mapping[str, Callback],
) -> Outcome:
    """Let the parts run; arguments and errors are those of :func:`~adamae.training.loop.train`."""
    return train(
        engine=parts.engine,
        batches=parts.stream,
        plan=parts.plan,
        lr=parts.lr,
        weight_decay=parts.weight_decay,
        store=store,
        logger=logger,
        world=world,
        num_videos=parts.num_videos,
        resume=resume,
        description=description,
        max_bad_fraction=options.data.max_bad_fraction,
        max_skipped=options.log.max_skipped,
        quarantine=parts.quarantine,
        callbacks=callbacks,
    )
