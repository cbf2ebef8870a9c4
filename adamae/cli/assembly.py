"""The parts of a training run, each built from its options."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from adamae.data.annotations import load_annotations
from adamae.data.dataset import ClipDataset, pretrain_dataset
from adamae.data.loader import BatchKeys, build_loader
from adamae.distributed import World
from adamae.errors import UserError
from adamae.models import MODELS, Pretrainer, create_model
from adamae.options import ClipOptions, DataOptions, PretrainOptions
from adamae.options.groups import PretrainDataOptions
from adamae.options.presets import configs_folder
from adamae.options.pretrain import model_arguments
from adamae.options.training import TrainingOptions
from adamae.training.engine import Engine, Objective, build_optimizer
from adamae.training.loop import BatchStream
from adamae.training.parameter_groups import Group
from adamae.training.plain import PlainEngine
from adamae.training.plan import Plan
from adamae.training.schedules import CosineSchedule, count_warmup_steps, scaled_lr
from adamae.visualize.companion import fixed_clips

_MOST_WORKERS = 8
# Clips in TensorBoard's panels.
_SHOWN_CLIPS = 4


def open_dataset(data: PretrainDataOptions, clip: ClipOptions, seed: int = 0) -> ClipDataset:
    """The clips of ``--data_path``.

    Raises:
        UserError: If there is none, or no such list, folder or shards, or they hold no videos.
    """
    return pretrain_dataset(
        load_annotations(data.source, data_root=data.data_root, shard_window=data.shard_window),
        num_frames=clip.frames_read,
        sampling_rate=clip.sampling_rate,
        size=clip.input_size,
        frame_sampling=clip.frame_sampling,
        flip=clip.flip,
        seed=seed,
        num_sample=data.num_sample,
        decoder=data.decoder,
        video_timeout=data.video_timeout,
    )


def build_model(options: PretrainOptions) -> tuple[Pretrainer, dict[str, Any]]:
    """The model, with the same start values on every rank, and all arguments that its constructor got.

    Raises:
        UserError: If the name is unknown or no pre-train model's, or sizes do not divide.
    """
    name = options.model.model
    arguments = model_arguments(options.clip, options.model, options.sampler, options.loss)
    kind, size = MODELS.get(name, (Pretrainer, {}))
    if kind is not Pretrainer:
        raise UserError(f"--model {name} is a classifier: expected a pre-train model such as adamae_base")
    torch.manual_seed(options.run.seed)
    model = create_model(name, **arguments)
    assert isinstance(model, Pretrainer)
    model.checkpoint_activations(options.run.checkpoint_activations)
    return model, {**size, **arguments}


def shown_clips(options: PretrainOptions) -> tuple[Tensor | None, Tensor | None]:
    """The clips of TensorBoard's panels, and what moves in them; None where there are none or it is not known.

    Raises:
        UserError: If pictures are asked for and there is no such list, or its first videos cannot be read.
    """
    if not options.panels.log_images_every:
        return None, None
    source = Path(options.panels.log_images_path or options.data.source)
    beside = (source if source.is_dir() else source.parent) / "val.csv"
    if options.panels.log_images_path is None and beside.is_file():
        source = beside
    dataset = open_dataset(replace(options.data, data_path=str(source), num_sample=1), options.clip, options.run.seed)
    return fixed_clips([dataset[0, row] for row in range(min(_SHOWN_CLIPS, len(dataset)))])


def choose_engine(asked: str, world_size: int) -> str:
    """Name of the engine: what was asked for; for "auto" plain torch for one process and DeepSpeed for several."""
    if asked != "auto":
        return asked
    return "deepspeed" if world_size > 1 else "plain"


def choose_precision(asked: str, device: torch.device) -> str:
    """Name of the precision: what was asked for; for "auto" bf16 where the GPU has it and fp32 on the CPU."""
    if asked != "auto":
        return asked
    if device.type == "cpu":
        return "fp32"
    return "bf16" if torch.cuda.is_bf16_supported() else "fp16"


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
        "accumulation": options.optimizer.update_freq,
        "compile_model": options.run.compile,
    }
    if choose_engine(options.run.engine, world.size) == "plain":
        return PlainEngine(model, objective, optimizer, **shared)
    from adamae.training.deepspeed import DeepSpeedEngine, read_config

    named = configs_folder() / "deepspeed" / f"{options.run.deepspeed_config}.json"
    config = read_config(named if named.is_file() else Path(options.run.deepspeed_config))
    return DeepSpeedEngine(model, objective, optimizer, config=config, batch_size=options.clips_per_pass, **shared)


def make_plan(options: TrainingOptions, num_videos: int, world_size: int) -> Plan:
    """How long the run is."""
    keys = BatchKeys(
        num_videos,
        options.data.batch_size,
        world_size=world_size,
        accumulation=options.optimizer.update_freq,
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
        accumulation=options.optimizer.update_freq,
        epoch=epoch,
        batch=batch,
        num_workers=workers,
        pin_memory=options.data.pin_mem and world.device.type == "cuda",
    )


def choose_workers(data: DataOptions) -> int:
    """Worker processes: what was asked for, else this process's share of the cores but one, at most eight."""
    if data.num_workers is not None:
        return data.num_workers
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # As torchrun and the deepspeed launcher call it; under Slurm a task has cores of its own.
    share = cores // int(os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("LOCAL_SIZE") or 1)
    return min(max(share - 1, 1), _MOST_WORKERS)
