"""``adamae finetune``."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from adamae.options.finetune import finetune_parser, recipe_lines


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
    from adamae.finetune import finetune, test_only
    from adamae.training.engines import start_world

    with start_world(parsed.options.run) as world:
        if parsed.options.scoring.eval:
            test_only(parsed.options, world)
            return 0
        notes = [*(f"note: {note}" for note in parsed.notes), *recipe_lines(parsed, world.size)]
        command = shlex.join(["adamae", "finetune", *words])
        return finetune(parsed.options, world, notes=notes, command=command).exit_code
