"""A complete fine-tuning run: options, data, classifier, engine, loop, test.

from adamae.finetune import finetune
from adamae.options.finetune import FinetuneOptions

finetune(FinetuneOptions.of(finetune="runs/first", data_path="videos", output_dir="runs/tuned"))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from adamae.checkpoints.formats import open_checkpoint
from adamae.data.annotations import Annotations
from adamae.data.finetune_augmentation import FinetuneAugmentation, RandAugment, RandomErasing
from adamae.data.finetune_dataset import FinetuneDataset, finetune_dataset, sided_classes
from adamae.data.image_files import image_files_for
from adamae.data.loader import choose_workers
from adamae.data.splits import Splits, load_splits
from adamae.data.views import VideoViews, ViewPlan, plan_test, plan_validation
from adamae.distributed import World
from adamae.errors import PreemptedError, UserError
from adamae.evaluation.evaluator import Evaluator
from adamae.evaluation.labels import check_same_classes
from adamae.evaluation.networks import build_classifier
from adamae.evaluation.setup import Selection, choose_selection, describe_unread
from adamae.lookup import is_folder
from adamae.models import Classifier
from adamae.options.finetune import FinetuneOptions
from adamae.options.inference import SelectionOptions
from adamae.plain_text import counted
from adamae.precision import choose_precision
from adamae.progress import say
from adamae.training.batches import Batches
from adamae.training.best_weights import BestWeights
from adamae.training.ema import WeightEma
from adamae.training.engines import build_engine, describe_machine, start_world
from adamae.training.initial_classifier import InitialClassifier, initial_classifier
from adamae.training.loop import Outcome, train
from adamae.training.mixing import Mixing
from adamae.training.objectives import FinetuneObjective
from adamae.training.parameter_groups import parameter_groups
from adamae.training.preemption import Preemption
from adamae.training.run import Run, open_run
from adamae.training.schedules import Schedule
from adamae.training.validation import Validation

# Folders in the output directory: the checkpoint with the best validation accuracy, and the results of the test.
BEST, TEST = "best", "test"


def finetune(
    options: FinetuneOptions, world: World | None = None, *, notes: Sequence[str] = (), command: str = ""
) -> Outcome:
    """Fine-tune, or resume fine-tuning, and test the best weights.

    Args:
        options: All options of the run.
        world: The processes of the run; None joins those of the launcher, and closes the world at the end.
        notes: Lines to print first.
        command: The command line, for the head of ``options.yaml``.

    Raises:
        UserError: If options, data, checkpoint or output directory are not valid (before anything is written), or if
            the disk is full, too many videos are damaged, or too many steps have a loss or gradient that is not finite.
    """
    options.check_complete()
    if world is None:
        with start_world(options.run) as world:
            return finetune(options, world, notes=notes, command=command)
    options = options.for_processes(world.size)

    splits = open_splits(options)
    validation_views, test_views = plan_views(options)
    batches = Batches(
        _training_clips(options, splits),
        world,
        batch_size=options.data.batch_size,
        accumulation=options.passes,
        num_workers=options.data.num_workers,
        pin_memory=options.data.pin_mem,
        mixing=_mixing(options),
    )
    initial = initial_classifier(options, splits.classes)
    model = initial.model.to(world.device)
    schedule = Schedule.of(options, batches.num_videos, world.size)
    decay, layer_decay = options.optimizer.weight_decay, options.optimizer.layer_decay
    encoder = model.encoder
    groups = parameter_groups(model, decay, layer_decay=layer_decay, depth=encoder.depth, first=encoder.first_layer)
    engine = build_engine(options, model, FinetuneObjective(options.augmentation.smoothing), groups, world)
    run = open_run(options, model, initial.config, schedule, world)

    found = (f"note: {note}" for note in splits.notes)
    run.announce(options, *notes, *found, *_describe(options, splits, initial, run))
    run.record(options, engine, command)
    ema = _weight_ema(options, model)
    best = BestWeights(run.directory / BEST, model, run.description, run.schedule.plan, world)
    preemption = Preemption(world)
    measure = _measure(options, model, splits, validation_views, world, preemption)
    elsewhere = run.resume is not None and not run.store.holds(run.resume)
    validation = Validation(measure, best.keep, best.discard, ema, elsewhere)
    with preemption:
        # Add new callbacks after these, see loop._by_name.
        outcome = train(engine, batches, run, {"average": ema, "validation": validation}, preemption)
        run.logger.close()
        if world.is_main:
            say(outcome.describe(run))

        if outcome.signal is None:
            evaluator = _tester(options, model, splits, test_views, world, preemption)
            try:
                _test_best(evaluator, options, outcome.step, validation, best, ema)
            except PreemptedError:
                outcome = replace(outcome, signal=preemption.name)
                if world.is_main:
                    say(f"test stopped by {outcome.signal}; {run.repeat_hint} to repeat it")
    engine.close()
    return outcome


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
    selection = choose_selection(file, options.clip.num_frames, _asked_selection(options))
    options = _with_selection(options, selection)
    clip = options.clip
    model, changes = build_classifier(
        file, num_frames=clip.num_frames, size=clip.input_size, selection=selection.arguments
    )
    if world.is_main:
        say(*(f"note: {note}" for note in (*changes, *splits.notes)), *selection.describe(clip.num_frames))
    _, test_views = plan_views(options)
    evaluator = _tester(options, model.to(world.device), splits, test_views, world)
    _test(evaluator, options, given)


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


def _training_clips(options: FinetuneOptions, splits: Splits) -> FinetuneDataset:
    """Build the training data set.

    Raises:
        UserError: If timm does not know the policy of ``--aa``.
    """
    given, clip = options.augmentation, options.clip
    augmentation = FinetuneAugmentation(
        size=clip.input_size,
        randaugment=RandAugment(given.aa, clip.input_size, given.train_interpolation) if given.aa else None,
        erasing=RandomErasing(given.reprob, given.remode, given.recount) if given.reprob else None,
        scale=given.crop_scale,
        mode=given.crop_interpolation,
        flip=options.flip,
    )
    return finetune_dataset(
        splits.train,
        num_frames=clip.frames_read,
        sampling_rate=clip.sampling_rate,
        augmentation=augmentation,
        frame_sampling=options.frame_sampling,
        never_flipped=sided_classes(splits.classes),
        seed=options.run.seed,
        num_sample=given.num_sample,
        decoder=options.data.decoder,
        video_timeout=options.data.video_timeout,
    )


def _mixing(options: FinetuneOptions) -> Mixing | None:
    """Build mixup and cutmix; None if both are off.

    Raises:
        UserError: If ``--cutmix_minmax`` is not a range.
    """
    given = options.augmentation
    mixing = Mixing(
        mixup=given.mixup,
        cutmix=given.cutmix,
        cutmix_minmax=given.cutmix_minmax,
        probability=given.mixup_prob,
        switch_probability=given.mixup_switch_prob,
        mode=given.mixup_mode,
    )
    return mixing if mixing.active else None


def _weight_ema(options: FinetuneOptions, model: Classifier) -> WeightEma:
    optimizer = options.optimizer
    decay = optimizer.model_ema_decay if optimizer.model_ema else None
    return WeightEma(model, decay, optimizer.model_ema_force_cpu)


def _evaluator(
    options: FinetuneOptions,
    model: Classifier,
    videos: Annotations,
    classes: Sequence[str],
    views: ViewPlan,
    world: World,
    preemption: Preemption | None = None,
) -> Evaluator:
    data = options.data
    return Evaluator(
        model,
        VideoViews(videos, views, seed=options.run.seed, decoder=data.decoder, video_timeout=data.video_timeout),
        classes,
        world,
        batch_size=data.batch_size * options.augmentation.num_sample,
        num_workers=choose_workers(data.num_workers),
        precision=choose_precision(options.run.precision, world.device),
        preempted=None if preemption is None else preemption.requested,
    )


def _tester(
    options: FinetuneOptions,
    model: Classifier,
    splits: Splits,
    views: ViewPlan,
    world: World,
    preemption: Preemption | None = None,
) -> Evaluator:
    """Build the evaluator of the test; ``--softmax`` applies only here, because validation has a single view."""
    evaluator = _evaluator(options, model, splits.test, splits.classes, views, world, preemption)
    return replace(evaluator, softmax=options.scoring.softmax)


def _measure(
    options: FinetuneOptions,
    model: Classifier,
    splits: Splits,
    views: ViewPlan,
    world: World,
    preemption: Preemption,
) -> Callable[[], Mapping[str, float]] | None:
    """Return the function that validates the model after an epoch; None without validation."""
    if options.scoring.disable_eval_during_finetuning:
        return None
    evaluator = _evaluator(options, model, splits.val, splits.classes, views, world, preemption)

    def measure() -> Mapping[str, float]:
        figures, accuracy = evaluator.figures()
        if world.is_main:
            say(f"validation: loss {figures['val_loss']:.4f}, {accuracy.render()}")
        return figures

    return measure


def _test_best(
    evaluator: Evaluator,
    options: FinetuneOptions,
    step: int,
    validation: Validation,
    best: BestWeights,
    ema: WeightEma,
) -> None:
    """Test the best weights, or the last ones without validation."""
    if validation.best:
        _test(evaluator, options, best.take())
        return
    with ema.applied():
        _test(evaluator, options, f"the last weights, step {step}")


def _test(evaluator: Evaluator, options: FinetuneOptions, which: str) -> None:
    """Run the multi-view test, write files to the output directory and print one line to standard output."""
    world, folder = evaluator.world, options.run.output / TEST
    clip = {name: value for name, value in asdict(options.clip).items() if name != "flip"}
    measured = {
        "checkpoint": which,
        "clip": {**clip, "frame_sampling": options.frame_sampling},
        "selection": {"token_selection": options.model.token_selection, "keep_ratio": options.model.keep_ratio},
    }
    evaluation = evaluator.evaluate(measured)
    notes = world.on_main(lambda: evaluation.write(folder))
    if world.is_main:
        say(*(f"note: {note}" for note in notes), *describe_unread("score", evaluation.scores.unscored))
        say(f"tested {which}; {evaluator.describe_views()}; results in {folder}")
        print(evaluation.accuracy.render())


def _describe(options: FinetuneOptions, splits: Splits, initial: InitialClassifier, run: Run) -> list[str]:
    """Return the lines that describe data, model and schedule."""
    world = run.world
    millions = sum(parameter.numel() for parameter in initial.model.parameters()) / 1e6
    noun = splits.train.noun
    return [
        f"data: {len(splits.train)} training, {len(splits.val)} validation and {len(splits.test)} test {noun}s, "
        f"{splits.num_classes} classes, of {options.data.source}",
        f"model: {millions:.1f} M parameters, {initial.model.grid.num_tokens} tokens",
        *initial.origin,
        run.schedule.describe(),
        f"{noun}s per step: {options.clips_per_step(world.size)} ({options.data.batch_size} per micro-batch, "
        f"{counted(options.passes, 'micro-batch', 'micro-batches')}, {counted(world.size, 'process', 'processes')}), "
        f"{counted(options.augmentation.num_sample, 'clip')} per {noun}",
        describe_machine(options, world),
    ]
