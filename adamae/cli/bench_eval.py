"""``adamae bench eval``: how fast test views come."""

from __future__ import annotations

import json
from collections.abc import Sequence

from adamae.options.bench import bench_eval_parser


def measure_eval(words: Sequence[str]) -> str:
    """What ``adamae bench eval`` prints.

    Raises:
        UserError: If there is no such list, or none of the videos can be read.
    """
    options = bench_eval_parser().parse(words).options
    from adamae.benchmark.views import measure_views
    from adamae.data.annotations import load_annotations
    from adamae.data.image_files import image_files_for
    from adamae.data.views import plan_test

    views = options.views
    plan = plan_test(
        num_frames=views.num_frames,
        sampling_rate=views.sampling_rate,
        size=views.input_size,
        frame_sampling=views.frame_sampling,
        num_clips=views.test_num_segment,
        num_crops=views.test_num_crop,
    )
    annotations = load_annotations(
        options.data.data_path,
        data_root=options.data.data_root,
        split="test",
        image_files=image_files_for(views.num_frames),
    )
    measurement = options.measurement
    report = measure_views(annotations, plan, num_videos=measurement.num_videos, decoder=measurement.decoder)
    return json.dumps(report.as_dict(), indent=2) if measurement.json else report.render()
