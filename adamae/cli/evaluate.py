"""``adamae evaluate``: a fine-tuned checkpoint's scores on a labelled list."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from adamae.options.evaluation import EvaluateOptions, evaluate_parser

if TYPE_CHECKING:
    from adamae.distributed import World


def run(words: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: If the checkpoint is no classifier, the labels are not its classes, or no video can be read.
    """
    options = evaluate_parser().parse(words).options
    _ = options.source
    from adamae import distributed

    world = distributed.start(options.compute.device)
    text = _evaluate(options, world)
    if world.is_main:
        print(text)
    world.close()
    return 0


def _evaluate(options: EvaluateOptions, world: World) -> str:
    from adamae.checkpoints.formats import open_checkpoint
    from adamae.cli.viewing import (
        choose_frames,
        choose_selection,
        choose_views,
        computing,
        decoding,
        describe_views,
        progress_bar,
        tell,
    )
    from adamae.data.views import VideoViews
    from adamae.evaluation.labels import find_class_names, find_test_list, load_labelled, notes_on_labels, numbered
    from adamae.evaluation.metrics import measure_accuracy
    from adamae.evaluation.networks import build_classifier
    from adamae.evaluation.results import summarise, write_results
    from adamae.evaluation.scoring import score_videos

    file = open_checkpoint(options.network.checkpoint, options.network.model_key)
    clip = choose_frames(file, options.frames, options.views.frame_sampling)
    chosen = choose_selection(file, clip.num_frames, options.selection)
    seen, clip = clip.num_frames, replace(clip, num_frames=chosen.frames_read)
    plan = choose_views(clip, options.frames, options.views)
    model, changes = build_classifier(file, num_frames=seen, size=clip.size, selection=chosen.arguments)
    count = file.architecture.classes
    known = find_class_names(count, source=options.source, given=options.data.classes, stored=file.class_names)
    source, notes = find_test_list(options.source)
    annotations = load_labelled(source, count, known, data_root=options.data.data_root)
    names = known or annotations.classes or numbered(count)
    tell(
        world,
        [
            f"{options.network.checkpoint}: {file.method}",
            *(f"note: {note}" for note in (*changes, *notes, *notes_on_labels(annotations, names))),
            f"{len(annotations)} videos of {annotations.source}: {describe_views(clip, plan)}",
            *chosen.describe(seen),
        ],
    )
    dataset = VideoViews(annotations, plan, **decoding(options.compute))
    with progress_bar("scoring", world) as progress:
        scores = score_videos(
            model.to(world.device),
            dataset,
            world=world,
            softmax=options.output.softmax,
            progress=progress,
            **computing(options.compute, world),
        )
    accuracy = measure_accuracy(scores, annotations.labels)
    measured = {
        "checkpoint": str(file.path),
        "epoch": file.epoch,
        "step": file.step,
        "list": annotations.source,
        "clip": {name: value for name, value in vars(clip).items() if name != "guessed"},
        "selection": chosen.arguments,
        "clips_per_video": plan.num_clips,
        "crops_per_clip": plan.num_crops,
        "short_side": plan.short_side,
        "averaged": "probabilities" if options.output.softmax else "logits",
        "precision": computing(options.compute, world)["precision"],
    }
    summary = summarise(scores, accuracy, names, measured)
    output = options.output.output_dir
    if output is not None:
        notes = world.on_main(lambda: write_results(output, scores, annotations, accuracy, names, summary))
        tell(world, [*(f"note: {note}" for note in notes), f"everything lies in {output}"])
    tell(world, [f"no score: {video.path}: {video.reason}" for video in scores.unscored[:10]])
    if options.output.json:
        return json.dumps(summary, indent=2, ensure_ascii=False)
    return accuracy.render()
