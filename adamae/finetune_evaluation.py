"""Validation and test of a fine-tuning run, and the test alone of a finished one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from adamae.checkpoints.formats import open_checkpoint
from adamae.checkpoints.networks import build_classifier
from adamae.data.annotations import Annotations
from adamae.data.class_numbers import check_same_classes, numbered
from adamae.data.image_files import image_files_for
from adamae.data.loader import choose_workers
from adamae.data.splits import Splits, load_splits
from adamae.data.views import VideoViews, ViewPlan, plan_test, plan_validation
from adamae.distributed import World
from adamae.errors import UserError
from adamae.evaluation.clip_settings import describe_clip
from adamae.evaluation.evaluator import Evaluator
from adamae.evaluation.setup import Selection, choose_selection, describe_unread
from adamae.lookup import is_folder
from adamae.models import Classifier
from adamae.options.finetune import FinetuneOptions
from adamae.options.inference import SelectionOptions
from adamae.precision import choose_precision
from adamae.progress import say

# Folders in the output directory: the checkpoint with the best validation accuracy, and the results of the test.
BEST, TEST = "best", "test"


def test_only(options: FinetuneOptions, world: World) -> None:
    """``--eval`` of the official scripts: the multi-view test of the best checkpoint, or else of ``--finetune``.

    Tokens and frames are selected by the options, if given, or else as in training of the checkpoint.

    Raises:
        UserError: If the checkpoint does not exist or has other classes, or no video can be read.
    """
    best = options.run.output / BEST
    given = str(best) if is_folder(best) else options.model.finetune
    if not given:
        raise UserError(f"--eval: no checkpoint in {best} and no --finetune; expected one of them")
    splits = open_splits(options)
    file = open_checkpoint(given, None if is_folder(best) else options.model.model_key)
    if file.architecture.classes not in (0, splits.num_classes):
        raise UserError(
            f"{given}: has {file.architecture.classes} classes, expected {splits.num_classes}, "
            f"as {splits.train.source} has"
        )
    check_same_classes(splits.train.source, splits.classes, file.class_names, given)
    notes = list(splits.notes)
    if not file.class_names and splits.classes != numbered(splits.num_classes):
        notes.append(f"{given} has no class names: its classes are taken in the order of {splits.train.source}")
    selection = choose_selection(file, options.clip.num_frames, _asked_selection(options))
    options = _with_selection(options, selection)
    clip = options.clip
    model, changes = build_classifier(
        file, num_frames=clip.num_frames, size=clip.input_size, selection=selection.arguments
    )
    if world.is_main:
        say(*(f"note: {note}" for note in (*changes, *notes)), *selection.describe(clip.num_frames))
    _, test_views = plan_views(options)
    evaluator = build_test_evaluator(options, model.to(world.device), splits, test_views, world)
    run_test(evaluator, options, given)


def open_splits(options: FinetuneOptions) -> Splits:
    """Load the lists of training, validation and test videos.

    Raises:
        UserError: If the lists are not a valid data set.
    """
    return load_splits(
        options.data.source,
        eval_data_path=options.data.eval_data_path,
        data_root=options.data.data_root,
        num_classes=options.model.nb_classes,
        shard_window=options.data.shard_window,
        image_files=image_files_for(options.clip.num_frames),
    )


def plan_views(options: FinetuneOptions) -> tuple[ViewPlan, ViewPlan]:
    """Return the view plans for validation and for the test.

    Raises:
        UserError: If the views are not possible.
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


def _evaluator(
    options: FinetuneOptions,
    model: Classifier,
    videos: Annotations,
    classes: Sequence[str],
    views: ViewPlan,
    world: World,
    preempted: Callable[[], bool] | None = None,
) -> Evaluator:
    """Build the evaluator of a model on a list of videos, with the run's batch size, workers and precision."""
    data = options.data
    return Evaluator(
        model,
        VideoViews(videos, views, seed=options.run.seed, decoder=data.decoder, video_timeout=data.video_timeout),
        classes,
        world,
        batch_size=data.batch_size * options.augmentation.num_sample,
        num_workers=choose_workers(data.num_workers),
        precision=choose_precision(options.run.precision, world.device),
        preempted=preempted,
    )


def build_test_evaluator(
    options: FinetuneOptions,
    model: Classifier,
    splits: Splits,
    views: ViewPlan,
    world: World,
    preempted: Callable[[], bool] | None = None,
) -> Evaluator:
    """Build the evaluator of the test; ``--softmax`` applies only here, because validation has a single view.

    Args:
        options: Options of the run.
        model: The model, on the world's device.
        splits: Lists of the videos, and the names of the classes.
        views: The views of each test video.
        world: The processes of the run.
        preempted: Called after each batch; if it returns True, the rank stops scoring.
    """
    evaluator = _evaluator(options, model, splits.test, splits.classes, views, world, preempted)
    return replace(evaluator, softmax=options.scoring.softmax)


def build_validation(
    options: FinetuneOptions,
    model: Classifier,
    splits: Splits,
    views: ViewPlan,
    world: World,
    preempted: Callable[[], bool] | None = None,
) -> Callable[[], Mapping[str, float]] | None:
    """Return the function that validates the model and returns its metrics; None without validation.

    Its arguments are those of :func:`build_test_evaluator`, with the views of each validation video.
    """
    if options.scoring.disable_eval_during_finetuning:
        return None
    evaluator = _evaluator(options, model, splits.val, splits.classes, views, world, preempted)

    def measure() -> Mapping[str, float]:
        metrics, accuracy = evaluator.metrics()
        if world.is_main:
            say(f"validation: loss {metrics['val_loss']:.4f}, {accuracy.render()}")
        return metrics

    return measure


def run_test(evaluator: Evaluator, options: FinetuneOptions, which: str) -> None:
    """Run the multi-view test, write files to the output directory and print one line to standard output.

    Args:
        evaluator: From :func:`build_test_evaluator`.
        options: Options of the run.
        which: Describes the tested weights.

    Raises:
        UserError: If no video has a score, or the files cannot be written.
        PreemptedError: If a rank is asked to exit.
    """
    world, folder, clip = evaluator.world, options.run.output / TEST, options.clip
    measured = {
        "checkpoint": which,
        "clip": describe_clip(
            num_frames=clip.num_frames,
            frames_read=clip.frames_read,
            sampling_rate=clip.sampling_rate,
            input_size=clip.input_size,
            frame_sampling=options.frame_sampling,
        ),
        "selection": {"token_selection": options.model.token_selection, "keep_ratio": options.model.keep_ratio},
    }
    evaluation = evaluator.evaluate(measured)
    notes = world.on_main(lambda: evaluation.write(folder))
    if world.is_main:
        say(*(f"note: {note}" for note in notes), *describe_unread("score", evaluation.scores.unscored))
        say(f"tested {which}; {evaluator.describe_views()}; results in {folder}")
        print(evaluation.accuracy.render())


def _asked_selection(options: FinetuneOptions) -> SelectionOptions:
    """Return the given options for token and frame selection; the others default to the checkpoint's training."""
    model, clip = options.model, options.clip
    asked: dict[str, Any] = {}
    if model.token_selection != "none":
        asked |= {"token_selection": model.token_selection, "keep_ratio": model.keep_ratio}
    if clip.frame_selection != "none":
        names = ("frame_selection", "frame_oversample", "frame_keep_ratio", "frame_choice")
        asked |= {name: getattr(clip, name) for name in names}
    return SelectionOptions(**asked)


def _with_selection(options: FinetuneOptions, selection: Selection) -> FinetuneOptions:
    """Return the options with the given token and frame selection."""
    chosen, clip = selection.arguments, options.clip
    model = replace(options.model, token_selection=chosen["token_selection"], keep_ratio=chosen["keep_ratio"])
    if chosen["candidate_frames"]:
        ratio = selection.frames_read / clip.num_frames
        more = {name: chosen.get(name, getattr(clip, name)) for name in ("frame_keep_ratio", "frame_choice")}
        clip = replace(clip, frame_selection="motion", frame_oversample=ratio, **more)
    return replace(options, model=model, clip=clip)
