"""``adamae extract``: write features of sliding windows with timestamps."""

from __future__ import annotations

from collections.abc import Sequence

from adamae.options.evaluation import extract_parser
from adamae.plain_text import counted


def run(words: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: If the file cannot be written, the checkpoint is invalid, or no video can be read.
    """
    options = extract_parser().parse(words).options
    out = options.features.out
    from adamae.evaluation.feature_files import check_feature_file

    check_feature_file(out)
    from adamae.evaluation.setup import start_world
    from adamae.extract import extract

    with start_world(options.compute) as world:
        extraction = extract(options, world, verbose=True)
        world.on_main(lambda: extraction.write(out))
        if world.is_main:
            found, annotations = extraction.windows, extraction.annotations
            read = counted(len(annotations) - len(found.unread), annotations.noun)
            print(f"{out}: {counted(len(found.row), 'window')} of {read}, features {found.features.shape[1:]}")
    return 0
