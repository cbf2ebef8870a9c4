"""``adamae predict``: print the most likely classes of videos as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from adamae.options.evaluation import predict_parser
from adamae.plain_text import as_json

if TYPE_CHECKING:
    from adamae.predict import ClassScore


def run(words: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: If the checkpoint is not a classifier; or, after the predictions of the others are printed, if a
            video cannot be read.
    """
    options = predict_parser().parse(words).options
    from adamae.evaluation.setup import start_world, without
    from adamae.predict import predict

    with start_world(options.compute) as world:
        predictions = predict(options, world, verbose=True)
    if predictions.videos and world.is_main:
        top = zip(predictions.videos, predictions.top(options.data.top), strict=True)
        views = predictions.num_views
        print(as_json([{"video": video, "views": views, "top": [*map(_entry, scores)]} for video, scores in top]))
    if predictions.unread:
        raise without("a prediction", predictions.unread)
    return 0


def _entry(score: ClassScore) -> dict[str, Any]:
    entry = {"class": score.number, "name": score.name, "probability": score.probability}
    return entry if score.logit is None else {**entry, "logit": score.logit}
