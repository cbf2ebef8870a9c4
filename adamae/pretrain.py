"""A complete pre-training run: options, data, model, engine, loop.

from adamae.options import PretrainOptions
from adamae.pretrain import pretrain

pretrain(PretrainOptions.of(data_path="videos", output_dir="runs/first", epochs=20))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adamae.checkpoints.network_config import describe_network
from adamae.data.annotations import load_annotations
from adamae.data.dataset import PretrainDataset, pretrain_dataset
from adamae.data.image_files import image_files_for
from adamae.data.shards.names import names_shards
from adamae.distributed import World
from adamae.errors import UserError
from adamae.lookup import is_file, is_folder
from adamae.models import MODELS, Pretrainer, create_model
from adamae.models.economy import apply_economy
from adamae.options.groups import PretrainClipOptions, PretrainDataOptions
from adamae.options.pretrain import PretrainOptions, model_arguments
from adamae.plain_text import counted
from adamae.progress import say
from adamae.training.batches import Batches
from adamae.training.engines import build_engine, describe_machine, start_training_world
from adamae.training.loop import Outcome, train
from adamae.training.objectives import pretrain_objective
from adamae.training.parameter_groups import parameter_groups
from adamae.training.run import Run, open_run
from adamae.training.schedules import Schedule
from adamae.visualize.panel_log import PanelLog, fixed_clips

# Clips in TensorBoard's panels.
_PANEL_CLIPS = 4


def pretrain(
    options: PretrainOptions, world: World | None = None, *, notes: Sequence[str] = (), command: str = ""
) -> Outcome:
    """Pre-train, or resume pre-training.

    Args:
        options: All options of the run.
        world: The processes of the run; None joins those of the launcher, and closes the world at the end.
        notes: Lines to print first.
        command: The command line, for the head of ``options.yaml``.

    Raises:
        UserError: If options, data, checkpoint or output directory are not valid (before anything is written), or if
            the disk is full, too many videos are damaged, or too many steps have a loss or gradient that is not finite.
    """
    options.check_complete()
    if world is None:
        with start_training_world(options.run) as world:
            return pretrain(options, world, notes=notes, command=command)
    options = apply_economy(options.for_processes(world.size))

    dataset = open_clips(options.data, options.clip, options.run.seed)
    batches = Batches(
        dataset,
        world,
        batch_size=options.data.batch_size,
        accumulation=options.accumulation,
        num_workers=options.data.num_workers,
        pin_memory=options.data.pin_mem,
    )
    model, config = build_model(options)
    schedule = Schedule.of(options, len(dataset), world.size)
    groups = parameter_groups(model.to(world.device), options.optimizer.weight_decay)
    engine = build_engine(options, model, pretrain_objective, groups, world)
    panel_clips = world.on_main(lambda: _panel_clips(options))
    run = open_run(options, model, config, schedule, world)

    run.announce(options, *notes, *_describe(options, dataset, model, run))
    run.record(options, engine, command)
    panels = PanelLog(
        model,
        *panel_clips,
        every=options.panels.log_images_every,
        writer=lambda: run.logger.tensorboard if world.is_main else None,
    )
    # The callback is part of every run, so that panels can be switched on and off on resume.
    outcome = train(engine, batches, run, {"panels": panels})
    run.logger.close()
    engine.close()
    if world.is_main:
        say(outcome.describe(run))
    return outcome


def open_clips(data: PretrainDataOptions, clip: PretrainClipOptions, seed: int = 0) -> PretrainDataset:
    """Build the data set of ``--data_path``.

    Raises:
        UserError: If the path is not given, the list, folder or shards do not exist, or they contain no videos.
    """
    return pretrain_dataset(
        load_annotations(
            data.source,
            data_root=data.data_root,
            shard_window=data.shard_window,
            image_files=image_files_for(clip.num_frames),
        ),
        num_frames=clip.frames_read,
        sampling_rate=clip.sampling_rate,
        size=clip.input_size,
        frame_sampling=clip.frame_sampling,
        flip=clip.flip,
        crop=clip.crop,
        crop_scale=clip.crop_scale,
        crop_interpolation=clip.crop_interpolation,
        seed=seed,
        num_sample=data.num_sample,
        decoder=data.decoder,
        video_timeout=data.video_timeout,
    )


def build_model(options: PretrainOptions) -> tuple[Pretrainer, dict[str, Any]]:
    """Build the model, with the same initial weights on every rank, and its config for checkpoints.

    Raises:
        UserError: If the name is unknown or a classifier's, or sizes do not divide.
    """
    name = options.model.model
    arguments = model_arguments(options.clip, options.model, options.sampler, options.loss)
    if name in MODELS and MODELS[name].kind is not Pretrainer:
        raise UserError(f"--model {name} is a classifier: expected a pre-training model such as adamae_base")
    torch.manual_seed(options.run.seed)
    model = create_model(name, **arguments)
    assert isinstance(model, Pretrainer)
    model.checkpoint_activations(options.run.checkpoint_activations)
    return model, describe_network(model, {**MODELS[name].arguments, **arguments})


def _panel_clips(options: PretrainOptions) -> tuple[Tensor | None, Tensor | None]:
    """Return the clips of TensorBoard's panels and their motion masks; None without panels or without masks.

    Raises:
        UserError: If panels are enabled and their list does not exist or its first videos cannot be read.
    """
    if not options.panels.log_images_every:
        return None, None
    # A Path would alter a URL.
    source = options.panels.log_images_path or options.data.source
    if options.panels.log_images_path is None and not names_shards(source):
        place = Path(source)
        beside = (place if is_folder(place) else place.parent) / "val.csv"
        source = str(beside) if is_file(beside) else source
    data = replace(options.data, data_path=source, num_sample=1)
    # The panels show the frames that the network takes; it would select others of each clip.
    dataset = open_clips(data, replace(options.clip, frame_selection="none"), options.run.seed)
    return fixed_clips([dataset[0, row] for row in range(min(_PANEL_CLIPS, len(dataset)))])


def _describe(options: PretrainOptions, dataset: PretrainDataset, model: Pretrainer, run: Run) -> list[str]:
    """Return the lines that describe data, model and schedule."""
    world = run.world
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    visible = f"{model.sampler.num_visible(model.grid)} of {model.grid.num_tokens} tokens visible"
    if model.decoder_budget < 1:
        visible += f", {model.decoder_budget:.0%} of the masked ones reconstructed in each step"
    return [
        f"data: {counted(len(dataset), dataset.annotations.noun)} of {options.data.source}",
        f"model: {options.model.model}, {millions:.1f} M parameters, {visible}",
        run.schedule.describe(),
        f"clips per step: {options.clips_per_step(world.size)} ({options.clips_per_micro_batch} per micro-batch, "
        f"{counted(options.accumulation, 'micro-batch', 'micro-batches')}, "
        f"{counted(world.size, 'process', 'processes')})",
        describe_machine(options, world),
    ]
