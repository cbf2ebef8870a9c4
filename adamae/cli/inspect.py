"""``adamae inspect``: describe a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Sequence

from adamae.options.checkpoints import inspect_parser


def run(words: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: If the file is not a checkpoint, is damaged, or would run code.
    """
    options = inspect_parser().parse(words).options
    from adamae.checkpoints.formats import open_checkpoint
    from adamae.checkpoints.inspection import as_text, describe

    file = open_checkpoint(options.source.file, options.source.model_key)
    print(json.dumps(describe(file), indent=1) if options.report.json else as_text(file))
    return 0
