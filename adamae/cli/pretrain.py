"""``adamae pretrain``: from a command line to a run."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING

import adamae
from adamae.cli.run_record import beginning, ending, say, write_record
from adamae.options.parser import Parsed
from adamae.options.pretrain import PretrainOptions, pretrain_parser, recipe_lines
from adamae.options.record import flatten

if TYPE_CHECKING:
    from adamae.cli.pretrain_assembly import Parts
    from adamae.distributed import World
    from adamae.training.loop import Outcome


def run(words: Sequence[str]) -> int:
    """Run the command.

    Returns:
        0 when the run came to its end; when a signal ended it early, 128 and the signal's number, as shells have it.

    Raises:
        UserError: If options, data or output directory do not make a run; nothing has been written then.
    """
    parsed = pretrain_parser().parse(words)
    # Before anything slow is imported.
    parsed.options.check_complete()
    from adamae import distributed
    from adamae.cli.machine import choose_engine

    engine = choose_engine(parsed.options.run.engine, distributed.Launch.detect().size)
    world = distributed.start(parsed.options.run.device, group_of_one=engine == "deepspeed")
    outcome = _pretrain(parsed, world, shlex.join(["adamae", "pretrain", *words]))
    world.close()
    return 0 if outcome.signal is None else 128 + getattr(signal, outcome.signal, signal.SIGTERM)


def _pretrain(parsed: Parsed[PretrainOptions], world: World, command: str) -> Outcome:
    from adamae.cli.economy import economised
    from adamae.cli.pretrain_assembly import build_parts, shown_clips
    from adamae.cli.resuming import going_on
    from adamae.cli.training_assembly import train_parts
    from adamae.training.objectives import count_hits
    from adamae.training.run_lock import lock_directory
    from adamae.training.run_logger import RunLogger
    from adamae.visualize.panel_log import PanelLog

    options = economised(parsed.options.for_processes(world.size))
    recorded, output = options.for_any_processes(), options.run.output
    parts = build_parts(options, world)
    parts, store, checkpoint = going_on(options, parts, parts.model, parts.card, world)
    clips, moving = world.on_main(lambda: shown_clips(options))
    # From here on files are written.
    logger = world.on_main(lambda: RunLogger(output, options.log.log_dir or output / "tensorboard"))
    world.on_main(lambda: lock_directory(output))
    if world.is_main:
        say(
            *(f"note: {note}" for note in parsed.notes),
            *recipe_lines(parsed, world.size),
            *_about(options, parts, world),
            *beginning(output, recorded, checkpoint, parts.plan),
        )
    panels = PanelLog(
        parts.model,
        clips,
        moving,
        every=options.panels.log_images_every,
        writer=lambda: logger.tensorboard if world.is_main else None,
        count_hits=count_hits,
    )
    world.on_main(lambda: write_record(output, recorded, parts.engine, command, "pretrain"))
    outcome = train_parts(
        options,
        parts,
        store=store,
        logger=logger,
        world=world,
        resume=checkpoint,
        description={"adamae": adamae.__version__, "model": parts.card, "args": flatten(recorded)},
        # Part of every run, so that it can be switched on and off between pauses.
        callbacks={"panels": panels},
    )
    logger.close()
    parts.engine.close()
    if world.is_main:
        say(ending(outcome, output))
    return outcome


def _about(options: PretrainOptions, parts: Parts, world: World) -> list[str]:
    """What is trained on what."""
    from adamae.cli.machine import choose_engine, choose_precision

    model, plan = parts.model, parts.plan
    total, passes = options.clips_per_step(world.size), options.passes
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    visible = f"{model.sampler.num_visible(model.grid)} of {model.grid.num_tokens} tokens visible"
    if model.decoder_budget < 1:
        visible += f", {model.decoder_budget:.0%} of the hidden ones reconstructed at each step"
    return [
        f"data: {parts.num_videos} videos of {options.data.source}",
        f"model: {options.model.model}, {millions:.1f} M parameters, {visible}",
        f"steps: {plan.last_step}, {plan.steps_per_epoch} to an epoch; learning rate up to {parts.lr.base:.3g}",
        f"clips to a step: {total} ({options.clips_per_pass} a pass, {passes} passes, {world.size} processes)",
        f"machine: {world.device}, {choose_precision(options.run.precision, world.device)}, "
        f"{choose_engine(options.run.engine, world.size)} engine",
    ]
