"""``adamae finetune``: fine-tune a classifier."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from adamae.options.finetune import finetune_parser, recipe_lines


def run(words: Sequence[str]) -> int:
    """Run the command.

    Returns:
        0 for a completed run; 128 plus the signal's number, as in shells, if a signal stopped it early.

    Raises:
        UserError: If options, data, checkpoint or output directory are invalid; nothing is written in this case.
    """
    parsed = finetune_parser().parse(words)
    # Checked before slow imports.
    parsed.options.check_complete()
    from adamae.finetune import finetune
    from adamae.finetune_evaluation import test_only
    from adamae.training.engines import start_training_world

    with start_training_world(parsed.options.run) as world:
        if parsed.options.scoring.eval:
            test_only(parsed.options, world)
            return 0
        notes = [*(f"note: {note}" for note in parsed.notes), *recipe_lines(parsed, world.size)]
        command = shlex.join(["adamae", "finetune", *words])
        return finetune(parsed.options, world, notes=notes, command=command).exit_code
