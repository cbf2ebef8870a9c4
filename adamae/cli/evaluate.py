"""``adamae evaluate``: score a classifier on a labelled list."""

from __future__ import annotations

from collections.abc import Sequence

from adamae.options.evaluation import evaluate_parser
from adamae.plain_text import as_json


def run(words: Sequence[str]) -> int:
    """Run the command: print the score, then write the files.

    Raises:
        UserError: If the checkpoint is not a classifier, the labels do not match its classes, or no video can be read.
    """
    options = evaluate_parser().parse(words).options
    _ = options.source
    from adamae.evaluate import evaluate
    from adamae.evaluation.setup import start_world
    from adamae.progress import say

    output = options.output.output_dir
    with start_world(options.compute) as world:
        evaluation = evaluate(options, world, verbose=True)
        if world.is_main:
            # Printed before the files are written: the result of hours must not be lost if the disk is full.
            print(as_json(evaluation.summary) if options.output.json else evaluation.accuracy.render(), flush=True)
        if output is not None:
            notes = world.on_main(lambda: evaluation.write(output))
            if world.is_main:
                say(*(f"note: {note}" for note in notes), f"results written to {output}")
    return 0
