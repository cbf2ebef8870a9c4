"""``adamae report``: compare runs on one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adamae.options.visualize import report_parser


def run(words: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: If a folder is not that of a run, or the page cannot be written.
    """
    options = report_parser().parse(words).options.runs
    from adamae.files import check_writable, publish
    from adamae.visualize.report import read_run, report_page

    check_writable(Path(options.out))
    page = report_page([read_run(folder) for folder in options.runs])
    publish(Path(options.out), lambda path: path.write_text(page, encoding="utf-8"))
    print(options.out)
    return 0
