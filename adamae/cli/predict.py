"""``adamae predict``: the likeliest classes of videos, as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from adamae.errors import UserError
from adamae.options.evaluation import PredictOptions, predict_parser

if TYPE_CHECKING:
    from adamae.evaluation.scoring import Unscored


def run(words: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: If the checkpoint is no classifier, or a video cannot be read: then the others' classes are told.
    """
    predictions, problems = _predict(predict_parser().parse(words).options)
    if predictions:
        print(json.dumps(predictions, indent=2, ensure_ascii=False))
    if problems:
        more = f", and {len(problems) - 1} more videos without a prediction" if len(problems) > 1 else ""
        raise UserError(f"{problems[0].path}: {problems[0].reason}{more}")
    return 0


def _predict(options: PredictOptions) -> tuple[list[dict[str, Any]], Sequence[Unscored]]:
    from adamae import distributed
    from adamae.checkpoints.formats import open_checkpoint
    from adamae.cli.viewing import (
        choose_frames,
        choose_selection,
        choose_views,
        computing,
        decoding,
        describe_views,
        tell,
    )
    from adamae.data.annotations import Annotations, load_annotations
    from adamae.data.shards.names import names_shards
    from adamae.data.views import VideoViews
    from adamae.evaluation.labels import find_class_names, numbered
    from adamae.evaluation.networks import build_classifier
    from adamae.evaluation.scoring import score_readable

    file = open_checkpoint(options.network.checkpoint, options.network.model_key)
    clip = choose_frames(file, options.frames, options.views.frame_sampling)
    chosen = choose_selection(file, clip.num_frames, options.selection)
    seen, clip = clip.num_frames, replace(clip, num_frames=chosen.frames_read)
    plan = choose_views(clip, options.frames, options.views)
    model, changes = build_classifier(file, num_frames=seen, size=clip.size, selection=chosen.arguments)
    count = file.architecture.classes
    names = find_class_names(count, given=options.data.classes, stored=file.class_names) or numbered(count)
    world = distributed.start(options.compute.device)
    tell(world, [*(f"note: {note}" for note in changes), describe_views(clip, plan), *chosen.describe(seen)])
    given = options.data.videos
    shards = len(given) == 1 and names_shards(given[0])
    videos = load_annotations(given[0], split="test") if shards else Annotations.of(given)
    dataset = VideoViews(videos, plan, **decoding(options.compute))
    # A few videos are not worth the start of a process.
    settings = computing(options.compute, world) | {"num_workers": options.compute.num_workers or 0}
    scores = score_readable(model.to(world.device), dataset, world=world, **settings)
    world.close()
    return [
        {"video": videos.path(row), "views": scores.num_views, "top": _top(logits, names, options.data.top)}
        for row, logits in zip(scores.rows.tolist(), scores.logits, strict=True)
    ], scores.unscored


def _top(logits: Any, names: Sequence[str], count: int) -> list[dict[str, Any]]:
    import numpy as np

    shifted = np.exp(logits.astype(np.float64) - logits.max())
    probabilities = shifted / shifted.sum()
    first = np.argsort(-logits, kind="stable")[:count].tolist()
    return [
        {"class": k, "name": names[k], "probability": float(probabilities[k]), "logit": float(logits[k])} for k in first
    ]
