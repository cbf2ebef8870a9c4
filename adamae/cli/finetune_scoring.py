"""Validation and test of a fine-tuning run, and the weights that were best."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from adamae.checkpoints.store import CheckpointStore
from adamae.cli.machine import choose_precision, choose_workers
from adamae.cli.run_record import say
from adamae.data.annotations import Annotations
from adamae.data.splits import Splits
from adamae.data.views import VideoViews, ViewPlan, plan_test, plan_validation
from adamae.distributed import World
from adamae.errors import UserError
from adamae.evaluation.metrics import Accuracy, measure_accuracy
from adamae.evaluation.scoring import Scores, score_videos
from adamae.models import Classifier
from adamae.options.finetune import FinetuneOptions
from adamae.options.record import flatten
from adamae.training.plan import Plan


def plan_views(options: FinetuneOptions) -> tuple[ViewPlan, ViewPlan]:
    """How videos are looked at for validation, and for the test.

    Raises:
        UserError: If there are no such views.
    """
    clip: dict[str, Any] = {
        "num_frames": options.clip.frames_read,
        "sampling_rate": options.clip.sampling_rate,
        "size": options.clip.input_size,
        "frame_sampling": options.frame_sampling,
        "short_side": options.scoring.short_side_size,
    }
    scoring = options.scoring
    test = plan_test(**clip, num_clips=scoring.test_num_segment, num_crops=scoring.test_num_crop)
    return plan_validation(**clip), test


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

    @cached_property
    def dataset(self) -> VideoViews:
        """The views; one data set for all epochs, so that a video that hung once is not opened in the next."""
        data = self.options.data
        return VideoViews(
            self.videos,
            self.plan,
            seed=self.options.run.seed,
            decoder=data.decoder,
            video_timeout=data.video_timeout,
        )

    def score(self) -> tuple[Scores, Accuracy]:
        """Every video's logits, and how they compare with the labels."""
        scores = score_videos(
            self.model,
            self.dataset,
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
        if self.world.is_main:
            say(f"validation: loss {loss:.4f}, {accuracy.render()}")
        return {"val_loss": loss, "val_top1": accuracy.top1, "val_top5": accuracy.top5}


class BestWeights:
    """The checkpoint of the best validation.

    Args:
        directory: Where it lies.
        model: What is trained.
        description: Goes into its ``meta.json``.
        plan: How long the run is.
        world: The processes of the run; the main one writes.
    """

    def __init__(
        self, directory: Path, model: Classifier, description: Mapping[str, Any], plan: Plan, world: World
    ) -> None:
        self._store = CheckpointStore(directory, keep_last=1)
        self._model = model
        self._description = description
        self._plan = plan
        self._world = world

    def keep(self, step: int, figures: Mapping[str, float]) -> None:
        """Write the model as it is, in place of the one before."""
        meta = {"epoch": self._plan.epochs_at(step), "validation": dict(figures), **self._description}
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
        "selection": {"token_selection": options.model.token_selection, "keep_ratio": options.model.keep_ratio},
        "clips_per_video": plan.num_clips,
        "crops_per_clip": plan.num_crops,
        "short_side": plan.short_side,
        "averaged": "logits",
    }
