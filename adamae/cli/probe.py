"""``adamae probe``: evaluate frozen features."""

from __future__ import annotations

from collections.abc import Sequence

from adamae.options.evaluation import probe_parser
from adamae.plain_text import as_json


def run(words: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: If the checkpoint is invalid, the lists are inconsistent, or no video can be read.
    """
    options = probe_parser().parse(words).options
    # Checked before slow imports.
    _ = options.source
    from adamae.evaluation.setup import start_world
    from adamae.probe import probe

    with start_world(options.compute) as world:
        result = probe(options, world, verbose=True)
        if world.is_main:
            print(as_json(result.as_dict()) if options.probing.json else result.render())
    return 0
