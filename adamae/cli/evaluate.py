"""``adamae evaluate``: a fine-tuned checkpoint's scores on a labelled list."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adamae.options.evaluation import EvaluateOptions, evaluate_parser
from adamae.plain_text import as_json

if TYPE_CHECKING:
    from adamae.checkpoints.formats import CheckpointFile
    from adamae.cli.viewing import Viewing
    from adamae.data.annotations import Annotations
    from adamae.distributed import World
    from adamae.evaluation.scoring import Scores
    from adamae.models import Classifier


def run(words: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: If the checkpoint is no classifier, the labels are not its classes, or no video can be read.
    """
    options = evaluate_parser().parse(words).options
    _ = options.source
    from adamae import distributed

    world = distributed.start(options.compute.device)
    _evaluate(options, world)
    world.close()
    return 0


def _evaluate(options: EvaluateOptions, world: World) -> None:
    """Print the score, and then write the files."""
    from adamae.cli.viewing import describe_damaged, describe_unread, open_viewing, tell
    from adamae.data.whole_files import check_writable
    from adamae.evaluation.metrics import measure_accuracy
    from adamae.evaluation.results import summarise, write_results

    output = options.output.output_dir
    if output is not None:
        world.on_main(lambda: check_writable(Path(output), folder=True))
    viewing = open_viewing(options.network, options.frames, options.selection, options.views)
    model, changes = viewing.classifier()
    annotations, names, notes = _open_list(options, viewing.file)
    views, *selected = viewing.describe()
    tell(
        world,
        [
            f"{options.network.checkpoint}: {viewing.file.method}",
            *(f"note: {note}" for note in (*changes, *notes)),
            f"{len(annotations)} videos of {annotations.source}: {views}",
            *selected,
        ],
    )
    scores = _score(model, annotations, viewing, options, world)
    accuracy = measure_accuracy(scores, annotations.labels)
    summary = summarise(scores, accuracy, names, _measured(options, viewing, annotations, world))
    tell(world, [*describe_unread("score", scores.unscored), *describe_damaged(scores.damaged)])
    if world.is_main:
        # First of all: hours of work must not be lost with a disk that has filled up.
        print(as_json(summary) if options.output.json else accuracy.render(), flush=True)
    if output is not None:
        notes = world.on_main(lambda: write_results(output, scores, annotations, accuracy, names, summary))
        tell(world, [*(f"note: {note}" for note in notes), f"everything lies in {output}"])


def _open_list(options: EvaluateOptions, file: CheckpointFile) -> tuple[Annotations, tuple[str, ...], list[str]]:
    """The videos with the network's labels, the names of its classes, and what is to be noted of both."""
    from adamae.evaluation.labels import find_class_names, find_test_list, load_labelled, notes_on_labels, numbered

    count = file.architecture.classes
    known = find_class_names(count, source=options.source, given=options.data.classes, stored=file.class_names)
    source, notes = find_test_list(options.source)
    annotations = load_labelled(source, count, known, data_root=options.data.data_root)
    names = known or annotations.classes or numbered(count)
    return annotations, names, [*notes, *notes_on_labels(annotations, names)]


def _score(
    model: Classifier, annotations: Annotations, viewing: Viewing, options: EvaluateOptions, world: World
) -> Scores:
    """Every video's logits; all processes share the work and get the same."""
    from adamae.cli.long_work import progress_bar
    from adamae.cli.viewing import computing
    from adamae.evaluation.scoring import score_videos

    with progress_bar("scoring", world) as progress:
        return score_videos(
            model.to(world.device),
            viewing.views_of(annotations, options.compute),
            world=world,
            softmax=options.output.softmax,
            progress=progress,
            **computing(options.compute, world),
        )


def _measured(options: EvaluateOptions, viewing: Viewing, annotations: Annotations, world: World) -> dict[str, Any]:
    """What belongs to the number, for the summary."""
    from adamae.cli.viewing import computing

    file, plan = viewing.file, viewing.plan
    return {
        "checkpoint": str(file.path),
        "epoch": file.epoch,
        "step": file.step,
        "list": annotations.source,
        "clip": {name: value for name, value in vars(viewing.clip).items() if name != "guessed"},
        "selection": viewing.selection.arguments,
        "clips_per_video": plan.num_clips,
        "crops_per_clip": plan.num_crops,
        "short_side": plan.short_side,
        "averaged": "probabilities" if options.output.softmax else "logits",
        "precision": computing(options.compute, world)["precision"],
    }
