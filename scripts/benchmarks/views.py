"""Test views: all views of a video from one decode, as in `adamae evaluate`, compared with one decode for each view.

    .venv/bin/python scripts/benchmarks/views.py LIST

The reference implementation decodes for each view. Both methods are timed in alternation on the same videos, on one
thread.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from adamae.bench import open_views
from adamae.benchmark.views import TimedViews, measure_in_turns
from adamae.data.augmentation import crop
from adamae.data.frame_indices import views_segments
from adamae.data.views import resize_short_side
from adamae.errors import UserError
from adamae.options.bench import BenchEvalOptions
from adamae.options.parser import OptionParser
from adamae.randomness import sample_generator


class DecodePerView(TimedViews):
    """The same views, with the video decoded, resized and cropped again for each of them.

    Args:
        *args: As for ``VideoViews``.
        stride: Stride of the decoded frames; None: the frames of segment sampling.
        **kwargs: As for ``VideoViews``.
    """

    def __init__(self, *args: Any, stride: int | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stride = stride

    def read(self, row: int) -> tuple[np.ndarray, int]:
        """See ``VideoViews.read``."""
        views, damaged = [], 0
        for view in range(self.plan.num_views):
            clip, box = divmod(view, self.plan.num_crops)
            with self.open(row) as reader:
                chosen = self.plan.choose(reader.num_frames, sample_generator(self.seed, 0, row))[clip]
                decoded = np.union1d(self._decoded(reader.num_frames), chosen)
                frames = resize_short_side(reader.read(decoded), self.plan)
                damaged = max(damaged, reader.damaged)
            square = self.plan.boxes(*frames.shape[1:3])[box]
            views.append(crop(frames[np.searchsorted(decoded, chosen)], square))
        return np.stack(views), damaged

    def _decoded(self, num_frames: int) -> np.ndarray:
        """Return the frame indices that the reference implementation decodes for each view."""
        if self.stride is None:
            return np.unique(views_segments(num_frames, self.plan.num_frames, 2))
        return np.arange(0, num_frames, self.stride)


def parser() -> OptionParser[BenchEvalOptions]:
    """Build the parser with the options of `adamae bench eval`."""
    return OptionParser(
        BenchEvalOptions,
        prog="scripts/benchmarks/views.py",
        description="Time the way of a list's videos to test views: all views from one decode, and a decode for each.",
    )


def main(words: Sequence[str]) -> int:
    """Measure and print the result."""
    options = parser().parse(words).options
    views, measurement = options.views, options.measurement
    annotations, plan = open_views(options)
    stride = views.sampling_rate if views.frame_sampling == "dense" else None
    once, per_view = measure_in_turns(
        [
            TimedViews(annotations, plan, decoder=measurement.decoder),
            DecodePerView(annotations, plan, decoder=measurement.decoder, stride=stride),
        ],
        measurement.num_videos,
    )
    decoding, ratio = per_view.decoding / once.decoding, once.views_per_second / per_view.views_per_second
    if measurement.json:
        ways = {"once": once.as_dict(), "per_view": per_view.as_dict()}
        print(json.dumps({**ways, "decoding_ratio": decoding, "ratio": ratio}, indent=2))
    else:
        print(f"all views from one decode\n{once.render()}\n\na decode for each view\n{per_view.render()}\n")
        print(f"one decode is {decoding:.1f} times as fast in decoding and {ratio:.1f} times in all")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except UserError as error:
        print(f"views.py: error: {error}", file=sys.stderr)
        sys.exit(2)
