"""``adamae pack``: write WebDataset shards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from adamae.cli.stopping import run_resumable
from adamae.cli.workers import one_per_core
from adamae.options.pack import PackedOptions, pack_parser
from adamae.plain_text import counted

if TYPE_CHECKING:
    from adamae.progress import Stages


def run(words: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: If the list is malformed, too many of its videos are missing, or the folder cannot be written or
            contains other files.
    """
    options = pack_parser().parse(words).options.packed
    return run_resumable(
        "pack",
        lambda progress: "\n".join(_pack(options, progress)),
        doing="packing",
        kept="interrupted; finished shards are kept",
    )


def _pack(options: PackedOptions, progress: Stages) -> Iterator[str]:
    """Yield the lines of the report."""
    shard_bytes = options.shard_bytes
    from adamae.data.shards.data_set import pack_data_set
    from adamae.data.shards.packing import BAD_VIDEOS

    reports = pack_data_set(
        options.data_path,
        options.out,
        data_root=options.data_root,
        shard_bytes=shard_bytes,
        videos_per_shard=options.videos_per_shard,
        shuffle=options.shuffle,
        seed=options.seed,
        workers=one_per_core(options.workers),
        max_bad_fraction=options.max_bad_fraction,
        progress=progress.work,
    )
    for report in reports.values():
        known = "" if report.written else ", all of them already complete"
        shards = f"{report.shards} shard{'s' * (report.shards != 1)} of {report.num_bytes / 1e6:.1f} MB in total"
        yield f"{report.folder}: {counted(report.videos, report.noun)} in {shards}{known}"
        if report.left_out:
            first = report.left_out[0]
            yield (
                f"  {len(report.left_out)} skipped, see {report.folder / BAD_VIDEOS}; the first is "
                f"{first['path']}: {first['reason']}"
            )
