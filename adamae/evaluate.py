"""A complete evaluation: checkpoint, views, labelled list, scores.

from adamae.evaluate import evaluate
from adamae.options.evaluation import EvaluateOptions

evaluation = evaluate(EvaluateOptions.of("runs/tuned", data_path="test.csv"))
print(evaluation.accuracy.render())
"""

from __future__ import annotations

from pathlib import Path

from adamae.data.annotations import Annotations
from adamae.data.class_numbers import compare_numbers, numbered
from adamae.data.image_files import image_files_for
from adamae.distributed import World
from adamae.evaluation.clip_settings import describe_clip
from adamae.evaluation.evaluator import Evaluation, Evaluator
from adamae.evaluation.labels import (
    find_class_names,
    find_test_list,
    load_labelled,
    notes_on_labels,
    notes_on_names,
)
from adamae.evaluation.setup import (
    EvaluationSetup,
    compute_settings,
    describe_damaged,
    describe_unread,
    open_setup,
    start_world,
)
from adamae.files import check_writable
from adamae.options.evaluation import EvaluateOptions
from adamae.plain_text import counted
from adamae.progress import Reporter


def evaluate(options: EvaluateOptions, world: World | None = None, *, verbose: bool = False) -> Evaluation:
    """Evaluate a fine-tuned checkpoint on a labelled list. No files are written.

    Args:
        options: All options of the evaluation.
        world: The processes that share the work; None joins those of the launcher, and closes the world at the end.
        verbose: Print settings, notes and progress on standard error.

    Raises:
        UserError: If the checkpoint is not a classifier, the labels do not match its classes, no video can be read, or
            the output directory cannot be written.
    """
    if world is None:
        with start_world(options.compute) as world:
            return evaluate(options, world, verbose=verbose)
    reporter = Reporter(world, verbose)
    output = options.output.output_dir
    if output is not None:
        world.on_main(lambda: check_writable(Path(output), folder=True))

    setup = open_setup(options.network, options.frames, options.selection, options.views)
    model, changes = setup.classifier()
    annotations, classes, notes = _open_list(options, setup)
    evaluator = Evaluator(
        model.to(world.device),
        setup.views_of(annotations, options.compute),
        classes,
        world,
        softmax=setup.averages_probabilities(options.output.softmax),
        **compute_settings(options.compute, world),
    )

    views, *selected = setup.describe(annotations.noun)
    reporter.say(
        f"{options.network.checkpoint}: {setup.file.method}",
        *(f"note: {note}" for note in (*changes, *notes)),
        f"{counted(len(annotations), annotations.noun)} of {annotations.source}: {views}",
        *([evaluator.describe_views()] if setup.plan.num_views > 1 else []),
        *selected,
    )
    measured = {
        "checkpoint": str(setup.file.path),
        "epoch": setup.file.epoch,
        "step": setup.file.step,
        "clip": describe_clip(
            num_frames=setup.clip.num_frames,
            frames_read=setup.selection.frames_read,
            sampling_rate=setup.clip.sampling_rate,
            input_size=setup.clip.size,
            frame_sampling=setup.clip.frame_sampling,
        ),
        "selection": setup.selection.arguments,
        "precision": evaluator.precision,
    }
    with reporter.progress_bar("scoring") as progress:
        evaluation = evaluator.evaluate(measured, progress)
    reporter.say(*describe_unread("score", evaluation.scores.unscored), *describe_damaged(evaluation.scores.damaged))
    return evaluation


def _open_list(options: EvaluateOptions, setup: EvaluationSetup) -> tuple[Annotations, tuple[str, ...], list[str]]:
    """Return the videos with the network's labels, the names of its classes, and notes on both."""
    file, count = setup.file, setup.file.architecture.classes
    known = find_class_names(count, source=options.source, given=options.data.classes, stored=file.class_names)
    source, notes = find_test_list(options.source)
    annotations = load_labelled(
        source, count, known, data_root=options.data.data_root, image_files=image_files_for(setup.clip.num_frames)
    )
    names = known or numbered(count)
    notes += notes_on_names(options.data.classes, names, file.class_names)
    if annotations.classes is None:
        owner = str(file.path) if options.data.classes is None else options.data.classes
        notes += compare_numbers(options.source, names, owner)
    return annotations, names, [*notes, *notes_on_labels(annotations, names)]
