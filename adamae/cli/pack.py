"""``adamae pack``: write WebDataset shards."""

from __future__ import annotations

import os
from collections.abc import Sequence

from adamae.options.pack import pack_parser


def run(words: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: If the list is malformed, too many of its videos are missing, or the folder cannot be written or
            holds something else.
    """
    options = pack_parser().parse(words).options.packed
    shard_bytes = options.shard_bytes
    from rich.console import Console
    from rich.progress import Progress

    from adamae.data.shards.data_set import pack_data_set
    from adamae.data.shards.packing import BAD_VIDEOS

    terminal = Console(stderr=True)
    with Progress(console=terminal, transient=True, disable=not terminal.is_terminal) as bar:
        task = bar.add_task("packing videos", total=None)
        reports = pack_data_set(
            options.data_path,
            options.out,
            data_root=options.data_root,
            shard_bytes=shard_bytes,
            videos_per_shard=options.videos_per_shard,
            shuffle=options.shuffle,
            seed=options.seed,
            workers=options.workers or os.cpu_count() or 1,
            max_bad_fraction=options.max_bad_fraction,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    for report in reports.values():
        known = "" if report.written else ", all of which were there"
        shards = f"{report.shards} shard{'s' * (report.shards != 1)} of {report.num_bytes / 1e6:.1f} MB in all"
        print(f"{report.folder}: {report.videos} videos in {shards}{known}")
        if report.left_out:
            first = report.left_out[0]
            print(
                f"  {len(report.left_out)} left out, see {report.folder / BAD_VIDEOS}; the first is "
                f"{first['path']}: {first['reason']}"
            )
    return 0
