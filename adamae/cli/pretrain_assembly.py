"""The parts of a pre-training run, each built from its options."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adamae.checkpoints.constants import describe_network
from adamae.cli.training_assembly import TrainingParts, build_engine, make_plan, make_schedules, make_stream
from adamae.data.annotations import load_annotations
from adamae.data.dataset import ClipDataset, pretrain_dataset
from adamae.distributed import World
from adamae.errors import UserError
from adamae.models import MODELS, Pretrainer, create_model
from adamae.options import ClipOptions, PretrainOptions
from adamae.options.groups import PretrainDataOptions
from adamae.options.pretrain import model_arguments
from adamae.training.objectives import pretrain_objective
from adamae.training.parameter_groups import parameter_groups
from adamae.visualize.panel_log import fixed_clips

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


@dataclass(frozen=True)
class Parts(TrainingParts):
    """What a pre-training run is made of.

    Attributes:
        model: What is trained.
        card: What a checkpoint has to say of it, so that it can be built again.
    """

    model: Pretrainer
    card: dict[str, Any]


def build_parts(options: PretrainOptions, world: World) -> Parts:
    """What can be wrong with options and list is found out here, before a file is written.

    Raises:
        UserError: If something is.
    """
    dataset = open_dataset(options.data, options.clip, options.run.seed)
    model, arguments = build_model(options)
    plan = make_plan(options, len(dataset), world.size)
    lr, weight_decay = make_schedules(options, plan, world.size)
    groups = parameter_groups(model.to(world.device), options.optimizer.weight_decay)
    return Parts(
        engine=build_engine(options, model, pretrain_objective, groups, world),
        plan=plan,
        lr=lr,
        weight_decay=weight_decay,
        stream=make_stream(options, dataset, world),
        num_videos=len(dataset),
        quarantine=dataset.watch.quarantine,
        model=model,
        card=describe_network(model, arguments),
    )
