"""The parts that only a fine-tuning run has, each built from its options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from adamae.checkpoints.constants import describe_network
from adamae.checkpoints.formats import CheckpointFile, open_checkpoint
from adamae.checkpoints.loading import load_weights
from adamae.checkpoints.store import CheckpointStore
from adamae.cli.assembly import (
    build_engine,
    choose_precision,
    choose_workers,
    make_plan,
    make_schedules,
    make_stream,
)
from adamae.data.annotations import Annotations
from adamae.data.finetune_augmentation import FinetuneAugmentation, RandAugment, RandomErasing
from adamae.data.finetune_dataset import FinetuneDataset, finetune_dataset, sided_classes
from adamae.data.splits import Splits, load_splits
from adamae.data.views import VideoViews, ViewPlan, plan_test, plan_validation
from adamae.distributed import World
from adamae.errors import UserError
from adamae.evaluation.metrics import Accuracy, measure_accuracy
from adamae.evaluation.scoring import Scores, score_videos
from adamae.models import MODELS, Classifier, create_model
from adamae.options.finetune import FinetuneOptions
from adamae.options.record import flatten
from adamae.training.engine import Engine
from adamae.training.loop import BatchStream
from adamae.training.mixing import Mixing
from adamae.training.objectives import FinetuneObjective
from adamae.training.parameter_groups import parameter_groups
from adamae.training.plan import Plan
from adamae.training.schedules import CosineSchedule

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
    arguments["num_classes"] = len(classes)
    torch.manual_seed(options.run.seed)
    model = create_model(name, **arguments)
    assert isinstance(model, Classifier)
    told = [f"weights: random, from seed {options.run.seed}"]
    constants: dict[str, Any] = {}
    if file is not None:
        told = [f"weights: {load_weights(model, file)}"]
        constants = file.constants.as_card()
        told += _other_clips(file, options)
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
        kept = ("position_embedding", "cls_token", "init_values", "qkv_bias", "mlp_ratio", "in_chans")
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
        "init_scale": given.init_scale,
        "use_mean_pooling": given.use_mean_pooling,
        "imagenet_default_mean_and_std": given.imagenet_default_mean_and_std,
    }
    return name or _DEFAULT_MODEL, arguments


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
        flip=options.flip,
    )
    return finetune_dataset(
        splits.train,
        num_frames=clip.num_frames,
        sampling_rate=clip.sampling_rate,
        augmentation=augmentation,
        frame_sampling=options.frame_sampling,
        never_flipped=sided_classes(splits.classes),
        seed=options.run.seed,
        num_sample=given.num_sample,
        decoder=options.data.decoder,
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


def plan_views(options: FinetuneOptions) -> tuple[ViewPlan, ViewPlan]:
    """How videos are looked at for validation, and for the test.

    Raises:
        UserError: If there are no such views.
    """
    clip: dict[str, Any] = {
        "num_frames": options.clip.num_frames,
        "sampling_rate": options.clip.sampling_rate,
        "size": options.clip.input_size,
        "frame_sampling": options.frame_sampling,
        "short_side": options.scoring.short_side_size,
    }
    scoring = options.scoring
    test = plan_test(**clip, num_clips=scoring.test_num_segment, num_crops=scoring.test_num_crop)
    return plan_validation(**clip), test


@dataclass(frozen=True)
class Parts:
    """What a run is made of.

    Attributes:
        splits: The videos.
        network: What is trained.
        engine: Trains it.
        plan: How long.
        lr: Learning rate by step.
        weight_decay: Likewise.
        stream: This rank's batches.
        validation_views: How videos are looked at after each epoch.
        test_views: And at the end.
    """

    splits: Splits
    network: Network
    engine: Engine
    plan: Plan
    lr: CosineSchedule
    weight_decay: CosineSchedule
    stream: BatchStream
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
    return Parts(splits, network, engine, plan, lr, weight_decay, stream, validation_views, test_views)


@dataclass(frozen=True)
class Scorer:
    """Scores the model as it is at the moment; all ranks call and get the same.

    Attributes:
        model: On the world's device.
        videos: With their labels.
        plan: How they are looked at.
        options: Of the run.
        world: The processes that share the work.
    """

    model: Classifier
    videos: Annotations
    plan: ViewPlan
    options: FinetuneOptions
    world: World

    def score(self) -> tuple[Scores, Accuracy]:
        """Every video's logits, and how they compare with the labels."""
        dataset = VideoViews(self.videos, self.plan, seed=self.options.run.seed, decoder=self.options.data.decoder)
        scores = score_videos(
            self.model,
            dataset,
            world=self.world,
            batch_size=self.options.data.batch_size * self.options.augmentation.num_sample,
            num_workers=choose_workers(self.options.data),
            precision=choose_precision(self.options.run.precision, self.world.device),
        )
        return scores, measure_accuracy(scores, self.videos.labels)

    def figures(self) -> Mapping[str, float]:
        """Loss and accuracies for the log."""
        scores, accuracy = self.score()
        labels = torch.from_numpy(self.videos.labels[scores.rows])
        loss = F.cross_entropy(torch.from_numpy(scores.logits), labels).item() if len(labels) else float("nan")
        return {"val_loss": loss, "val_top1": accuracy.top1, "val_top5": accuracy.top5}


class BestWeights:
    """The checkpoint of the best validation.

    Args:
        directory: Where it lies.
        model: What is trained.
        description: Goes into its ``meta.json``.
        steps_per_epoch: Steps in an epoch.
        world: The processes of the run; the main one writes.
    """

    def __init__(
        self, directory: Path, model: Classifier, description: Mapping[str, Any], steps_per_epoch: int, world: World
    ) -> None:
        self._store = CheckpointStore(directory, keep_last=1)
        self._model = model
        self._description = description
        self._steps_per_epoch = steps_per_epoch
        self._world = world

    def keep(self, step: int, figures: Mapping[str, float]) -> None:
        """Write the model as it is, in place of the one before."""
        meta = {"epoch": step / self._steps_per_epoch, "validation": dict(figures), **self._description}
        self._world.on_main(lambda: self._store.save(step, self._model.state_dict(), {}, meta))

    def take(self) -> str:
        """Load the weights into the model; returns which they are.

        Raises:
            UserError: If they are gone.
        """
        found = self._world.on_main(self._store.newest)
        if found is None:
            raise UserError(f"{self._store.directory}: the best checkpoint is gone; --resume none trains it anew")
        self._model.load_state_dict(found.weights())
        return f"{found.directory}, best in validation with {found.meta['validation']['val_top1']:.2f} %"


def record_of(options: FinetuneOptions) -> dict[str, Any]:
    """The options as a checkpoint carries them, with those that follow from others written out."""
    return {**flatten(options), "frame_sampling": options.frame_sampling, "flip": options.flip > 0}


def measured_by(options: FinetuneOptions, splits: Splits, plan: ViewPlan, which: str) -> dict[str, Any]:
    """What belongs to a test's number, for its summary."""
    clip = {name: value for name, value in asdict(options.clip).items() if name != "flip"}
    return {
        "checkpoint": which,
        "list": splits.test.source,
        "clip": {**clip, "frame_sampling": options.frame_sampling},
        "clips_per_video": plan.num_clips,
        "crops_per_clip": plan.num_crops,
        "short_side": plan.short_side,
        "averaged": "logits",
    }
