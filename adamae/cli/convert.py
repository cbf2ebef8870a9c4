"""``adamae convert``: rewrite a checkpoint in another program's layout, or export its network."""

from __future__ import annotations

from collections.abc import Sequence

from adamae.options.checkpoints import GRAPHS, convert_parser


def run(words: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: If the file is not a checkpoint, the target format does not support its network, or it cannot be
            written.
    """
    options = convert_parser().parse(words).options
    from adamae.checkpoints.formats import open_checkpoint

    source, target = options.source, options.target
    file = open_checkpoint(source.file, source.model_key)
    if target.to in GRAPHS:
        from adamae.export.writing import export

        print(export(file, target.out, target.to, target.part))
    else:
        from adamae.checkpoints.writing import convert

        print(convert(file, target.out, target.to))
    return 0
