"""A complete fine-tuning run: options, data, classifier, engine, loop, test.

from adamae.finetune import finetune
from adamae.options.finetune import FinetuneOptions

finetune(FinetuneOptions.of(finetune="runs/first", data_path="videos", output_dir="runs/tuned"))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from adamae.data.finetune_augmentation import FinetuneAugmentation, RandAugment, RandomErasing
from adamae.data.finetune_dataset import FinetuneDataset, finetune_dataset, sided_classes
from adamae.data.splits import Splits
from adamae.distributed import World
from adamae.errors import PreemptedError
from adamae.evaluation.evaluator import Evaluator
from adamae.finetune_evaluation import (
    BEST,
    build_test_evaluator,
    build_validation,
    open_splits,
    plan_views,
    run_test,
)
from adamae.models import Classifier
from adamae.options.finetune import FinetuneOptions
from adamae.plain_text import counted
from adamae.progress import say
from adamae.training.batches import Batches
from adamae.training.best_weights import BestWeights
from adamae.training.ema import WeightEma
from adamae.training.engines import build_engine, describe_machine, start_training_world
from adamae.training.initial_classifier import InitialClassifier, initial_classifier
from adamae.training.loop import Outcome, train
from adamae.training.mixing import Mixing
from adamae.training.objectives import FinetuneObjective
from adamae.training.parameter_groups import parameter_groups
from adamae.training.preemption import Preemption
from adamae.training.run import Run, open_run
from adamae.training.schedules import Schedule
from adamae.training.validation import Validation


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
        with start_training_world(options.run) as world:
            return finetune(options, world, notes=notes, command=command)
    options = options.for_processes(world.size)

    splits = open_splits(options)
    validation_views, test_views = plan_views(options)
    batches = Batches(
        _training_clips(options, splits),
        world,
        batch_size=options.data.batch_size,
        accumulation=options.accumulation,
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
    best = BestWeights(
        run.directory / BEST, model, run.description, run.schedule.plan, world, keep_last=options.run.keep_last
    )
    preemption = Preemption(world)
    measure = build_validation(options, model, splits, validation_views, world, preemption.requested)
    from_other_run = run.resume is not None and not run.store.holds(run.resume)
    validation = Validation(measure, best, ema, resumed_from_other_run=from_other_run)
    with preemption:
        # Add new callbacks after these, see loop._by_name.
        outcome = train(engine, batches, run, {"average": ema, "validation": validation}, preemption)
        run.logger.close()
        if world.is_main:
            say(outcome.describe(run))

        if outcome.signal is None:
            evaluator = build_test_evaluator(options, model, splits, test_views, world, preemption.requested)
            try:
                _test_best(evaluator, options, outcome.step, validation, best, ema)
            except PreemptedError:
                outcome = replace(outcome, signal=preemption.name)
                if world.is_main:
                    say(f"test stopped by {outcome.signal}; {run.repeat_hint} to repeat it")
    engine.close()
    return outcome


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
        run_test(evaluator, options, best.load_into_model(validation.best))
        return
    with ema.applied():
        run_test(evaluator, options, f"the last weights, step {step}")


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
        f"{counted(options.accumulation, 'micro-batch', 'micro-batches')}, "
        f"{counted(world.size, 'process', 'processes')}), "
        f"{counted(options.augmentation.num_sample, 'clip')} per {noun}",
        describe_machine(options, world),
    ]
