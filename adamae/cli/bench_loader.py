"""``adamae bench loader``: how fast clips come, and what to change first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from adamae.options.bench import bench_loader_parser


def measure_list(words: Sequence[str]) -> str:
    """What ``adamae bench loader`` prints.

    Raises:
        UserError: If there is no such list, or none of the videos can be read.
    """
    # The list may stand first, without its name.
    named = ["--data_path", *words] if words and not words[0].startswith("-") else words
    options = bench_loader_parser().parse(named).options
    from adamae.benchmark.loader import measure_loader
    from adamae.data.loader import choose_workers
    from adamae.pretrain import open_clips

    measurement = options.measurement
    dataset = open_clips(options.data, options.clip)
    report = measure_loader(
        dataset,
        num_videos=measurement.num_videos,
        batch_size=options.data.batch_size,
        num_workers=choose_workers(options.data.num_workers),
        gpu_rate=measurement.gpu_rate,
    )
    return json.dumps(asdict(report), indent=2) if measurement.json else report.render()
