"""``adamae finetune``: from a command line to a trained classifier and its score."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import adamae
from adamae.cli.run_record import beginning, ending, say, write_record
from adamae.errors import UserError
from adamae.options.finetune import FinetuneOptions, finetune_parser, recipe_lines
from adamae.options.parser import Parsed

if TYPE_CHECKING:
    from adamae.cli.finetune_assembly import Parts
    from adamae.cli.finetune_scoring import BestWeights, Scorer
    from adamae.data.splits import Splits
    from adamae.distributed import World
    from adamae.training.averaging import WeightAverage
    from adamae.training.loop import Outcome
    from adamae.training.validation import Validation

# Below the run's folder: the checkpoint of the best validation, and what the test leaves.
BEST, TEST = "best", "test"


def run(words: Sequence[str]) -> int:
    """Run the command.

    Returns:
        0 when the run came to its end; when a signal ended it early, 128 and the signal's number, as shells have it.

    Raises:
        UserError: If options, data, checkpoint or output directory do not make a run; nothing has been written then.
    """
    parsed = finetune_parser().parse(words)
    # Before anything slow is imported.
    parsed.options.check_complete()
    from adamae import distributed
    from adamae.cli.machine import choose_engine

    engine = choose_engine(parsed.options.run.engine, distributed.Launch.detect().size)
    world = distributed.start(parsed.options.run.device, group_of_one=engine == "deepspeed")
    ended_by = None
    if parsed.options.scoring.eval:
        _test_only(parsed.options, world)
    else:
        ended_by = _finetune(parsed, world, shlex.join(["adamae", "finetune", *words])).signal
    world.close()
    return 0 if ended_by is None else 128 + getattr(signal, ended_by, signal.SIGTERM)


def _finetune(parsed: Parsed[FinetuneOptions], world: World, command: str) -> Outcome:
    from adamae.cli.finetune_assembly import build_parts
    from adamae.cli.finetune_scoring import Scorer, record_of
    from adamae.cli.resuming import going_on
    from adamae.cli.training_assembly import train_parts
    from adamae.training.run_lock import lock_directory
    from adamae.training.run_logger import RunLogger

    options = parsed.options.for_processes(world.size)
    recorded, output = options.for_any_processes(), options.run.output
    parts = build_parts(options, world)
    parts, store, checkpoint = going_on(options, parts, parts.network.model, parts.network.card, world)
    # From here on files are written.
    logger = world.on_main(lambda: RunLogger(output, options.log.log_dir or output / "tensorboard"))
    world.on_main(lambda: lock_directory(output))
    if world.is_main:
        say(
            *(f"note: {note}" for note in (*parsed.notes, *parts.splits.notes)),
            *recipe_lines(parsed, world.size),
            *_about(options, parts, world),
            *beginning(output, recorded, checkpoint, parts.plan),
        )
    world.on_main(lambda: write_record(output, recorded, parts.engine, command, "finetune"))
    description = {"adamae": adamae.__version__, "model": parts.network.card, "args": record_of(recorded)}
    average, best, validation = _callbacks(options, parts, description, world)
    outcome = train_parts(
        options,
        parts,
        store=store,
        logger=logger,
        world=world,
        resume=checkpoint,
        description=description,
        # New ones behind these: see loop._by_name.
        callbacks={"average": average, "validation": validation},
    )
    logger.close()
    if world.is_main:
        say(ending(outcome, output))
    if outcome.signal is None:
        scorer = Scorer(parts.network.model, parts.splits.test, parts.test_views, options, world)
        if validation.best:
            _test(scorer, parts.splits, best.take())
        else:
            with average.applied():
                _test(scorer, parts.splits, f"the last weights, of step {outcome.step}")
    parts.engine.close()
    return outcome


def _callbacks(
    options: FinetuneOptions, parts: Parts, description: Mapping[str, Any], world: World
) -> tuple[WeightAverage, BestWeights, Validation]:
    """What follows the weights while they are trained, and the best of them."""
    from adamae.cli.finetune_scoring import BestWeights, Scorer
    from adamae.training.averaging import WeightAverage
    from adamae.training.validation import Validation

    model, optimizer = parts.network.model, options.optimizer
    average = WeightAverage(
        model, optimizer.model_ema_decay if optimizer.model_ema else None, optimizer.model_ema_force_cpu
    )
    best = BestWeights(options.run.output / BEST, model, description, parts.plan, world)
    scorer = Scorer(model, parts.splits.val, parts.validation_views, options, world)
    validates = not options.scoring.disable_eval_during_finetuning
    return average, best, Validation(scorer.figures if validates else None, best.keep, average)


def _about(options: FinetuneOptions, parts: Parts, world: World) -> list[str]:
    """What is trained on what."""
    from adamae.cli.machine import choose_engine, choose_precision

    splits, network, plan = parts.splits, parts.network, parts.plan
    total, passes = options.clips_per_step(world.size), options.passes
    millions = sum(parameter.numel() for parameter in network.model.parameters()) / 1e6
    return [
        f"data: {len(splits.train)} videos to train, {len(splits.val)} to validate, {len(splits.test)} to test, "
        f"{splits.num_classes} classes, of {options.data.source}",
        f"model: {millions:.1f} M parameters, {network.model.grid.num_tokens} tokens",
        *network.told,
        f"steps: {plan.last_step}, {plan.steps_per_epoch} to an epoch; learning rate up to {parts.lr.base:.3g}",
        f"videos to a step: {total} ({options.data.batch_size} a pass, {passes} passes, {world.size} processes), "
        f"{options.augmentation.num_sample} clips of each",
        f"machine: {world.device}, {choose_precision(options.run.precision, world.device)}, "
        f"{choose_engine(options.run.engine, world.size)} engine",
    ]


def _test(scorer: Scorer, splits: Splits, which: str) -> None:
    """The multi-view test: files below the run's folder, one line on the standard output."""
    from adamae.cli.finetune_scoring import measured_by
    from adamae.cli.viewing import describe_unread
    from adamae.evaluation.results import summarise, write_results

    scores, accuracy = scorer.score()
    world, folder = scorer.world, scorer.options.run.output / TEST
    summary = summarise(scores, accuracy, splits.classes, measured_by(scorer.options, splits, scorer.plan, which))
    notes = world.on_main(lambda: write_results(folder, scores, splits.test, accuracy, splits.classes, summary))
    if world.is_main:
        say(*(f"note: {note}" for note in notes))
        say(*describe_unread("score", scores.unscored))
        say(f"tested {which}; {scores.num_views} views of each video; tables in {folder}")
        print(accuracy.render())


def _test_only(options: FinetuneOptions, world: World) -> None:
    """``--eval`` of the published scripts."""
    from adamae.checkpoints.formats import open_checkpoint
    from adamae.cli.finetune_assembly import open_splits
    from adamae.cli.finetune_scoring import Scorer, plan_views
    from adamae.evaluation.networks import build_classifier

    best = options.run.output / BEST
    given = str(best) if best.is_dir() else options.model.finetune
    if not given:
        raise UserError(f"--eval: no checkpoint in {best} and no --finetune; expected one of them")
    splits = open_splits(options)
    file = open_checkpoint(given, None if best.is_dir() else options.model.model_key)
    if file.architecture.classes not in (0, splits.num_classes):
        raise UserError(
            f"{given}: a network of {file.architecture.classes} classes, expected {splits.num_classes}, "
            f"as {splits.train.source} has"
        )
    model, changes = build_classifier(file, num_frames=options.clip.num_frames, size=options.clip.input_size)
    if world.is_main:
        say(*(f"note: {note}" for note in (*changes, *splits.notes)))
    _, plan = plan_views(options)
    _test(Scorer(model.to(world.device), splits.test, plan, options, world), splits, given)
