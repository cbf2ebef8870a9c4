"""``adamae predict``: print the most likely classes of videos as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from adamae.options.evaluation import PredictOptions, predict_parser
from adamae.plain_text import as_json

if TYPE_CHECKING:
    from adamae.evaluation.scoring import Unscored


def run(words: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: If the checkpoint is not a classifier; or, after the predictions of the others are printed, if a
            video cannot be read.
    """
    predictions, problems = _predict(predict_parser().parse(words).options)
    if predictions:
        print(as_json(predictions))
    if problems:
        from adamae.evaluation.setup import without

        raise without("a prediction", problems)
    return 0


def _predict(options: PredictOptions) -> tuple[list[dict[str, Any]], Sequence[Unscored]]:
    """Return the predictions to print, and the videos without a prediction."""
    from adamae import distributed
    from adamae.data.image_files import image_files_for
    from adamae.data.named_videos import load_named
    from adamae.evaluation.labels import find_class_names, notes_on_names, numbered
    from adamae.evaluation.scoring import score_readable
    from adamae.evaluation.setup import compute_settings, describe_damaged, open_setup
    from adamae.progress import say

    setup = open_setup(options.network, options.frames, options.selection, options.views)
    videos = load_named(options.data.videos, data_root=options.data.data_root, image_files=image_files_for(setup.seen))
    model, changes = setup.classifier()
    count, stored = setup.file.architecture.classes, setup.file.class_names
    names = find_class_names(count, given=options.data.classes, stored=stored) or numbered(count)
    world = distributed.start(options.compute.device, timeout_seconds=options.compute.rendezvous_timeout)
    if world.is_main:
        changes += notes_on_names(options.data.classes, names, stored)
        say(*(f"note: {note}" for note in changes), *setup.describe(videos.noun))
    # For a few videos, starting worker processes takes longer than decoding.
    settings = compute_settings(options.compute, world) | {"num_workers": options.compute.num_workers or 0}
    averaged = setup.averages_probabilities(options.data.softmax)
    dataset = setup.views_of(videos, options.compute)
    scores = score_readable(model.to(world.device), dataset, world=world, softmax=averaged, **settings)
    if world.is_main:
        say(*describe_damaged(scores.damaged))
    world.close()
    return [
        {
            "video": videos.path(row),
            "views": scores.num_views,
            "top": _top(row_scores, averaged, names, options.data.top),
        }
        for row, row_scores in zip(scores.rows.tolist(), scores.logits, strict=True)
    ], scores.unscored


def _top(scores: Any, averaged: bool, names: Sequence[str], count: int) -> list[dict[str, Any]]:
    """Return the most likely classes by averaged probabilities, or by averaged logits, which are then included."""
    import numpy as np

    first = np.argsort(-scores, kind="stable")[:count].tolist()
    if averaged:
        return [{"class": k, "name": names[k], "probability": float(scores[k])} for k in first]
    shifted = np.exp(scores.astype(np.float64) - scores.max())
    probabilities = shifted / shifted.sum()
    return [
        {"class": k, "name": names[k], "probability": float(probabilities[k]), "logit": float(scores[k])} for k in first
    ]
