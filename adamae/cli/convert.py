"""``adamae convert``: rewrite a checkpoint in another program's layout."""

from __future__ import annotations

from collections.abc import Sequence

from adamae.options.checkpoints import convert_parser


def run(words: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: If the file is no checkpoint, the layout cannot hold its network, or it cannot be written.
    """
    options = convert_parser().parse(words).options
    from adamae.checkpoints.formats import open_checkpoint
    from adamae.checkpoints.writing import convert

    file = open_checkpoint(options.source.file, options.source.model_key)
    print(convert(file, options.target.out, options.target.to))
    return 0
