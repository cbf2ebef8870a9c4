"""Evaluation of a classifier on a labelled list: for validation, the test of a fine-tuning run, and ``evaluate``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from adamae.data.annotations import Annotations
from adamae.data.views import VideoViews
from adamae.distributed import World
from adamae.evaluation.metrics import Accuracy, measure_accuracy
from adamae.evaluation.results import summarise, write_results
from adamae.evaluation.scoring import Scores, score_videos
from adamae.plain_text import counted
from adamae.progress import ProgressCallback


@dataclass(frozen=True)
class Evaluation:
    """The scores of one evaluation.

    Attributes:
        scores: Mean logits or probabilities of every video.
        accuracy: Accuracy of the scores.
        annotations: The list.
        classes: Names of the classes.
        summary: Result of :func:`~adamae.evaluation.results.summarise`.
    """

    scores: Scores
    accuracy: Accuracy
    annotations: Annotations
    classes: Sequence[str]
    summary: dict[str, Any]

    def write(self, folder: str | Path) -> list[str]:
        """Write all tables and return notes for the user, one line each.

        Raises:
            UserError: If they cannot be written.
        """
        return write_results(folder, self.scores, self.annotations, self.accuracy, self.classes, self.summary)


@dataclass(frozen=True)
class Evaluator:
    """Scores the current weights of a model. All ranks call it and get the same result.

    Attributes:
        model: The model, on the world's device.
        dataset: Views of the videos; the same data set is used for all epochs, so that a video that hung once is not
            opened again.
        classes: Names of the classes.
        world: The processes that share the work.
        batch_size: Views per forward pass.
        num_workers: Decoding processes of each rank.
        precision: A key of :data:`~adamae.precision.AUTOCAST`.
        softmax: Average probabilities over the views instead of logits.
        preempted: Called after each batch; if it returns True, the rank stops scoring.
    """

    model: nn.Module
    dataset: VideoViews
    classes: Sequence[str]
    world: World
    batch_size: int
    num_workers: int = 0
    precision: str = "fp32"
    softmax: bool = False
    preempted: Callable[[], bool] | None = None

    def evaluate(self, measured: Mapping[str, Any], progress: ProgressCallback | None = None) -> Evaluation:
        """Score every video once.

        Args:
            measured: Other entries of the summary: checkpoint, list, views.
            progress: Called on the main rank with the number of its completed videos and their total.

        Raises:
            UserError: If no video has a score.
            PreemptedError: If a rank is asked to exit.
        """
        scores, accuracy = self._score(progress)
        plan = self.dataset.plan
        views = {"clips_per_video": plan.num_clips, "crops_per_clip": plan.num_crops, "short_side": plan.short_side}
        whole = {"list": self.dataset.annotations.source, **measured, **views, "averaged": self._averaged}
        summary = summarise(scores, accuracy, self.classes, whole)
        return Evaluation(scores, accuracy, self.dataset.annotations, self.classes, summary)

    def describe_views(self) -> str:
        """Describe the number of views of each video or image, and what is averaged over them."""
        views = f"{counted(self.dataset.plan.num_views, 'view')} per {self.dataset.annotations.noun}"
        return f"{views}, {self._averaged} averaged" if self.dataset.plan.num_views > 1 else views

    @property
    def _averaged(self) -> str:
        return "probabilities" if self.softmax else "logits"

    def metrics(self) -> tuple[dict[str, float], Accuracy]:
        """Return loss and accuracies for the log, and the accuracy to print. Requires that logits are averaged.

        Raises:
            PreemptedError: If a rank is asked to exit.
        """
        scores, accuracy = self._score()
        labels = torch.from_numpy(self.dataset.annotations.labels[scores.rows])
        loss = F.cross_entropy(torch.from_numpy(scores.logits), labels).item() if len(labels) else float("nan")
        return {"val_loss": loss, "val_top1": accuracy.top1, "val_top5": accuracy.top5}, accuracy

    def _score(self, progress: ProgressCallback | None = None) -> tuple[Scores, Accuracy]:
        scores = score_videos(
            self.model,
            self.dataset,
            world=self.world,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            precision=self.precision,
            softmax=self.softmax,
            progress=progress,
            preempted=self.preempted,
        )
        return scores, measure_accuracy(scores, self.dataset.annotations.labels)
