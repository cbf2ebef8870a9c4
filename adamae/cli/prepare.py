"""``adamae prepare``: convert a downloaded data set to lists and videos that decode fast, with a report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adamae.cli.stopping import run_resumable
from adamae.cli.workers import one_per_core
from adamae.options.prepare import PrepareOptions, prepare_parser

if TYPE_CHECKING:
    from adamae.progress import Stages


def run(words: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: If nothing could be prepared.
    """
    options = prepare_parser().parse(words).options
    return run_resumable(
        "prepare",
        lambda progress: _prepare(options, progress),
        doing="preparing",
        kept=f"stopped; what is done in {options.prepared.out} is kept",
    )


def _prepare(options: PrepareOptions, progress: Stages) -> str:
    from adamae.data.preparation.journal import Part
    from adamae.data.preparation.prepare import prepare
    from adamae.data.preparation.transcoding import Encoding

    made, work = options.prepared, options.work
    report = prepare(
        options.download.layout,
        options.download.source,
        made.out,
        annotations=options.download.annotations,
        split=options.download.split,
        encoding=Encoding(made.short_side, made.gop, made.crf) if made.transcode else None,
        paths=made.paths,
        part=Part.parse(work.part),
        workers=one_per_core(work.workers),
        time_limit=work.video_timeout or None,
        retry=work.retry,
        progress=progress.work,
        scanning=progress.scanning,
    )
    return report.render(examples=3)
