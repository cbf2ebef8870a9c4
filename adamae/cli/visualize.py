"""``adamae visualize``: films, contact sheets, pages and arrays of sampled tokens, predictions and errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adamae.options.visualize import visualize_parser


def run(words: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: If the checkpoint is not a pre-trained one, a video cannot be read, or a file cannot be written;
            files written before are complete.
    """
    options = visualize_parser().parse(words).options
    from adamae.files import check_writable
    from adamae.visualize.pictures import visualize

    out = Path(options.pictures.out)
    check_writable(out, folder=True)
    for pictures in visualize(options, verbose=True):
        for path in pictures.write(out):
            print(path)
    return 0
