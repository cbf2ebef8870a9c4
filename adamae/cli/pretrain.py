"""``adamae pretrain``."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from adamae.options.pretrain import pretrain_parser, recipe_lines


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
    from adamae.pretrain import pretrain
    from adamae.training.engines import start_world

    with start_world(parsed.options.run) as world:
        notes = [*(f"note: {note}" for note in parsed.notes), *recipe_lines(parsed, world.size)]
        command = shlex.join(["adamae", "pretrain", *words])
        return pretrain(parsed.options, world, notes=notes, command=command).exit_code
