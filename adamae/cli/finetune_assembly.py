"""The parts that only a fine-tuning run has, each built from its options."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from adamae.checkpoints.constants import describe_network
from adamae.checkpoints.formats import CheckpointFile, open_checkpoint
from adamae.checkpoints.loading import load_weights
from adamae.cli.finetune_scoring import plan_views
from adamae.cli.training_assembly import TrainingParts, build_engine, make_plan, make_schedules, make_stream
from adamae.data.finetune_augmentation import FinetuneAugmentation, RandAugment, RandomErasing
from adamae.data.finetune_dataset import FinetuneDataset, finetune_dataset, sided_classes
from adamae.data.splits import Splits, load_splits
from adamae.data.views import ViewPlan
from adamae.distributed import World
from adamae.errors import UserError
from adamae.models import MODELS, Classifier, create_model
from adamae.options.finetune import FinetuneOptions
from adamae.training.loop import BatchStream
from adamae.training.mixing import Mixing
from adamae.training.objectives import FinetuneObjective
from adamae.training.parameter_groups import parameter_groups

_DEFAULT_MODEL = "vit_base_patch16_224"


@dataclass(frozen=True)
class Network:
    """A classifier that is ready to be trained.

    Attributes:
        model: With its start values, the same on every rank.
        card: What a checkpoint has to say of it, so that it can be built again.
        told: Where it comes from, one line each.
    """

    model: Classifier
    card: dict[str, Any]
    told: tuple[str, ...]


def build_network(options: FinetuneOptions, classes: tuple[str, ...]) -> Network:
    """The classifier, with the weights of ``--finetune``.

    Args:
        options: Say which.
        classes: Names of its classes.

    Raises:
        UserError: If the name is unknown or no classifier's, or the checkpoint does not match.
    """
    given = options.model
    file = open_checkpoint(given.finetune, given.model_key) if given.finetune else None
    name, arguments = _sizes(options, file)
    arguments |= _selection(options, file)
    # What is decoded has three colours; a kernel for others is made to fit.
    arguments |= {"num_classes": len(classes), "in_chans": 3}
    torch.manual_seed(options.run.seed)
    model = create_model(name, **arguments)
    assert isinstance(model, Classifier)
    model.checkpoint_activations(options.run.checkpoint_activations)
    told = [f"weights: random, from seed {options.run.seed}"]
    constants: dict[str, Any] = {}
    if file is not None:
        told = [f"weights: {load_weights(model, file)}"]
        constants = file.constants.as_card()
        told += _other_clips(file, options)
    if model.token_choice.active:
        kept, total = model.token_choice.num_kept, model.grid.num_tokens
        told.append(f"tokens: {kept} of {total} are encoded, selection: {options.model.token_selection}")
    card = describe_network(model, arguments) | {"class_names": list(classes)}
    if constants:
        card["constants"] = {**constants, **card.get("constants", {})}
    return Network(model, card, tuple(told))


def _sizes(options: FinetuneOptions, file: CheckpointFile | None) -> tuple[str, dict[str, Any]]:
    """Name of the model and all arguments of its constructor but the number of classes."""
    given, name = options.model, options.model.model
    arguments: dict[str, Any] = {}
    if name is not None and name in MODELS:
        kind, arguments = MODELS[name][0], dict(MODELS[name][1])
        if kind is not Classifier:
            raise UserError(f"--model {name} is a pre-train model: expected a classifier such as {_DEFAULT_MODEL}")
    elif name is None and file is None:
        arguments = dict(MODELS[_DEFAULT_MODEL][1])
    if file is not None:
        # Of a pre-train file, what is left without its decoder.
        bare = replace(file.architecture, kind="classifier", decoder=None, sampler=None, classes=0, given={})
        found = bare.options()
        kept = ("position_embedding", "cls_token", "init_values", "qkv_bias", "mlp_ratio")
        arguments |= {key: value for key, value in found.items() if name is None or key in kept}
    typed = {
        "patch_size": given.patch_size,
        "tubelet_size": given.tubelet_size,
        "embed_dim": given.encoder_embed_dim,
        "depth": given.encoder_depth,
        "num_heads": given.encoder_num_heads,
        "init_values": given.init_values or None,
    }
    arguments |= {key: value for key, value in typed.items() if value is not None}
    arguments |= {
        "img_size": options.clip.input_size,
        "num_frames": options.clip.num_frames,
        "drop_rate": given.drop,
        "attn_drop_rate": given.attn_drop_rate,
        "drop_path_rate": given.drop_path,
        "fc_drop_rate": given.fc_drop_rate,
        "init_scale": given.init_scale,
        "use_mean_pooling": given.use_mean_pooling,
        "imagenet_default_mean_and_std": given.imagenet_default_mean_and_std,
    }
    return name or _DEFAULT_MODEL, arguments


def _selection(options: FinetuneOptions, file: CheckpointFile | None) -> dict[str, Any]:
    """Arguments that say which tokens and frames are looked at."""
    given, clip = options.model, options.clip
    if given.token_selection == "adaptive" and file is None:
        raise UserError("--token_selection adaptive needs a checkpoint with a learned sampler: --finetune is missing")
    chosen = {
        "token_selection": given.token_selection,
        "keep_ratio": given.keep_ratio,
        "candidate_frames": clip.frames_read if clip.frame_selection != "none" else None,
        "frame_keep_ratio": clip.frame_keep_ratio,
        "frame_choice": clip.frame_choice,
    }
    return chosen if file is None else {**chosen, **file.architecture.sampler_options()}


def _other_clips(file: CheckpointFile, options: FinetuneOptions) -> list[str]:
    a, clip = file.architecture, options.clip
    if a.guessed or (a.frames, *a.size) == (clip.num_frames, clip.input_size, clip.input_size):
        return []
    return [
        f"note: the checkpoint was trained on {a.frames} frames of {a.size[0]}x{a.size[1]} pixels, this run takes "
        f"{clip.num_frames} of {clip.input_size}x{clip.input_size}; see --num_frames and --input_size"
    ]


def open_splits(options: FinetuneOptions) -> Splits:
    """The videos to train, validate and test on.

    Raises:
        UserError: If the lists do not make a data set.
    """
    return load_splits(
        options.data.source,
        eval_data_path=options.data.eval_data_path,
        data_root=options.data.data_root,
        num_classes=options.model.nb_classes,
        shard_window=options.data.shard_window,
    )


def open_training(options: FinetuneOptions, splits: Splits) -> FinetuneDataset:
    """The training clips.

    Raises:
        UserError: If timm does not know the policy of ``--aa``.
    """
    given, clip = options.augmentation, options.clip
    augmentation = FinetuneAugmentation(
        size=clip.input_size,
        randaugment=RandAugment(given.aa, clip.input_size, given.train_interpolation) if given.aa else None,
        erasing=RandomErasing(given.reprob, given.remode, given.recount) if given.reprob else None,
        scale=given.crop_scale,
        flip=options.flip,
    )
    return finetune_dataset(
        splits.train,
        num_frames=clip.frames_read,
        sampling_rate=clip.sampling_rate,
        augmentation=augmentation,
        frame_sampling=options.frame_sampling,
        never_flipped=sided_classes(splits.classes),
        seed=options.run.seed,
        num_sample=given.num_sample,
        decoder=options.data.decoder,
        video_timeout=options.data.video_timeout,
    )


def make_mixed_stream(options: FinetuneOptions, dataset: FinetuneDataset, world: World) -> BatchStream:
    """This rank's batches with what they are mixed by, from any place of the run on.

    Raises:
        UserError: If ``--cutmix_minmax`` is no range.
    """
    given = options.augmentation
    mixing = Mixing(
        mixup=given.mixup,
        cutmix=given.cutmix,
        cutmix_minmax=given.cutmix_minmax,
        probability=given.mixup_prob,
        switch_probability=given.mixup_switch_prob,
        mode=given.mixup_mode,
    )
    stream = make_stream(options, dataset, world)
    return (lambda epoch, batch: mixing.over(stream(epoch, batch))) if mixing.active else stream


@dataclass(frozen=True)
class Parts(TrainingParts):
    """What a fine-tuning run is made of.

    Attributes:
        splits: The videos.
        network: What is trained.
        validation_views: How videos are looked at after each epoch.
        test_views: And at the end.
    """

    splits: Splits
    network: Network
    validation_views: ViewPlan
    test_views: ViewPlan


def build_parts(options: FinetuneOptions, world: World) -> Parts:
    """Everything that can be wrong with options, lists and checkpoint is found out here, before a file is written.

    Raises:
        UserError: If something is.
    """
    splits = open_splits(options)
    validation_views, test_views = plan_views(options)
    dataset = open_training(options, splits)
    stream = make_mixed_stream(options, dataset, world)
    network = build_network(options, splits.classes)
    model = network.model.to(world.device)
    plan = make_plan(options, len(dataset), world.size)
    lr, weight_decay = make_schedules(options, plan, world.size)
    optimizer = options.optimizer
    groups = parameter_groups(model, optimizer.weight_decay, layer_decay=optimizer.layer_decay, depth=len(model.blocks))
    engine = build_engine(options, model, FinetuneObjective(options.augmentation.smoothing), groups, world)
    return Parts(
        engine=engine,
        plan=plan,
        lr=lr,
        weight_decay=weight_decay,
        stream=stream,
        num_videos=len(splits.train),
        quarantine=dataset.watch.quarantine,
        splits=splits,
        network=network,
        validation_views=validation_views,
        test_views=test_views,
    )
