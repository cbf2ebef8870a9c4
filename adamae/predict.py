"""Predictions of a fine-tuned checkpoint for videos or images.

from adamae.options.evaluation import PredictOptions
from adamae.predict import predict

predictions = predict(PredictOptions.of("runs/tuned", "videos", "holiday.mp4"))
for video, (best, *_) in zip(predictions.videos, predictions.top(), strict=True):
    print(video, best.name, best.probability)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adamae.data.class_numbers import numbered
from adamae.data.image_files import image_files_for
from adamae.data.named_videos import load_named
from adamae.distributed import World
from adamae.evaluation.labels import find_class_names, notes_on_names
from adamae.evaluation.scoring import Damaged, Unscored, score_readable
from adamae.evaluation.setup import compute_settings, describe_damaged, open_setup, start_world
from adamae.options.evaluation import PredictOptions
from adamae.progress import Reporter

# Below this number of videos, starting worker processes takes longer than decoding.
_FEW = 32


@dataclass(frozen=True)
class ClassScore:
    """Score of one class for a video.

    Attributes:
        number: Number of the class, from 0.
        name: Its name; the number as a string if neither the checkpoint nor the options give names.
        probability: Its probability, from 0 to 1.
        logit: Its logit, the mean over the views; None if probabilities were averaged.
    """

    number: int
    name: str
    probability: float
    logit: float | None = None


@dataclass(frozen=True)
class Predictions:
    """Predictions for n videos and C classes, in the order of the given videos.

    Attributes:
        videos: Paths of the n videos that can be read.
        classes: Names of the C classes.
        probabilities: (n, C) float64: means over the views, or the softmax of ``logits``.
        logits: (n, C) float32, means over the views; None if probabilities were averaged.
        num_views: Views of each video.
        unread: Videos without a prediction, with the reasons.
        damaged: Videos among the n with damaged packets, which were skipped.
    """

    videos: tuple[str, ...]
    classes: tuple[str, ...]
    probabilities: np.ndarray
    logits: np.ndarray | None
    num_views: int
    unread: tuple[Unscored, ...] = ()
    damaged: tuple[Damaged, ...] = ()

    def top(self, count: int = 5) -> list[list[ClassScore]]:
        """Return the most likely classes of each video, the most likely one first.

        Args:
            count: Number of classes; all if there are fewer.
        """
        # Logits can differ where their probabilities are rounded to the same number.
        scores = self.probabilities if self.logits is None else self.logits
        order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
        return [[self._score(row, k) for k in first] for row, first in enumerate(order.tolist())]

    def _score(self, row: int, k: int) -> ClassScore:
        logit = None if self.logits is None else float(self.logits[row, k])
        return ClassScore(k, self.classes[k], float(self.probabilities[row, k]), logit)


def predict(options: PredictOptions, world: World | None = None, *, verbose: bool = False) -> Predictions:
    """Predict the classes of videos or images. Videos that cannot be read are in ``unread``. No files are written.

    Args:
        options: All options of the prediction; ``top`` has no effect.
        world: The processes that share the work; None joins those of the launcher, and closes the world at the end.
        verbose: Print settings and notes on standard error.

    Raises:
        UserError: If the checkpoint is not a classifier, or a list or folder of videos does not exist.
    """
    if world is None:
        with start_world(options.compute) as world:
            return predict(options, world, verbose=verbose)
    reporter = Reporter(world, verbose)
    setup = open_setup(options.network, options.frames, options.selection, options.views)
    videos = load_named(
        options.data.videos, data_root=options.data.data_root, image_files=image_files_for(setup.clip.num_frames)
    )
    model, changes = setup.classifier()
    count, stored = setup.file.architecture.classes, setup.file.class_names
    names = find_class_names(count, given=options.data.classes, stored=stored) or numbered(count)
    changes += notes_on_names(options.data.classes, names, stored)
    reporter.say(*(f"note: {note}" for note in changes), *setup.describe(videos.noun))
    settings = compute_settings(options.compute, world)
    if options.compute.num_workers is None and len(videos) < _FEW:
        settings["num_workers"] = 0
    averaged = setup.averages_probabilities(options.data.softmax)
    dataset = setup.views_of(videos, options.compute)
    scores = score_readable(model.to(world.device), dataset, world=world, softmax=averaged, **settings)
    reporter.say(*describe_damaged(scores.damaged))
    # The number of classes is lost if no video can be read.
    values = scores.logits.reshape(-1, count)
    return Predictions(
        videos=tuple(videos.path(row) for row in scores.rows.tolist()),
        classes=tuple(names),
        probabilities=values.astype(np.float64) if averaged else _softmax(values),
        logits=None if averaged else values,
        num_views=scores.num_views,
        unread=scores.unscored,
        damaged=scores.damaged,
    )


def _softmax(logits: np.ndarray) -> np.ndarray:
    """(n, C) float32 to (n, C) float64."""
    probabilities = np.empty(logits.shape)
    for out, row in zip(probabilities, logits, strict=True):
        shifted = np.exp(row.astype(np.float64) - row.max())
        out[:] = shifted / shifted.sum()
    return probabilities
