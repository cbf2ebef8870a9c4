"""``adamae scan``: find videos of a list that cannot be decoded, and count frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adamae.cli.stopping import run_resumable
from adamae.cli.workers import one_per_core
from adamae.options.scan import ScanOptions, scan_parser
from adamae.plain_text import as_json

if TYPE_CHECKING:
    from adamae.progress import Stages


def run(words: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: If the list does not exist, or the results cannot be written.
    """
    options = scan_parser().parse(words).options
    return run_resumable(
        "scan", lambda progress: _scan(options, progress), doing="scanning", kept="stopped; what is done is kept"
    )


def _scan(options: ScanOptions, progress: Stages) -> str:
    from adamae.data.scanning.scan import scan

    work = options.work
    report = scan(
        options.videos.data_path,
        data_root=options.videos.data_root,
        image_files=options.videos.image_files,
        out=work.out,
        full=work.full,
        decoder=work.decoder,
        workers=one_per_core(work.workers),
        video_timeout=work.video_timeout,
        progress=progress.work,
        scanning=progress.scanning,
    )
    return as_json(report.as_dict()) if work.json else report.render()
