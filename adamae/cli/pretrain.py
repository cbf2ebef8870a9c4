"""``adamae pretrain``: pre-train a masked autoencoder."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from adamae.options.pretrain import pretrain_parser, recipe_lines


def run(words: Sequence[str]) -> int:
    """Run the command.

    Returns:
        0 for a completed run; 128 plus the signal's number, as in shells, if a signal stopped it early.

    Raises:
        UserError: If options, data or output directory are invalid; nothing is written in this case.
    """
    parsed = pretrain_parser().parse(words)
    # Checked before slow imports.
    parsed.options.check_complete()
    from adamae.pretrain import pretrain
    from adamae.training.engines import start_training_world

    with start_training_world(parsed.options.run) as world:
        notes = [*(f"note: {note}" for note in parsed.notes), *recipe_lines(parsed, world.size)]
        command = shlex.join(["adamae", "pretrain", *words])
        return pretrain(parsed.options, world, notes=notes, command=command).exit_code
