"""``adamae timeline``: how information is spread over the time of videos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adamae.options.visualize import TimelineOptions, timeline_parser

if TYPE_CHECKING:
    from adamae.visualize.footage import Footage


def run(words: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: If the checkpoint has no learned sampler, a video cannot be read, or nothing can be written.
    """
    _timeline(timeline_parser().parse(words).options)
    return 0


def _timeline(options: TimelineOptions) -> None:
    from adamae.cli.showing import open_show, show_videos
    from adamae.visualize.curves import timeline_csv, timeline_png
    from adamae.visualize.looks import Variant, look_at
    from adamae.visualize.networks import own_mask_type
    from adamae.visualize.probability import check_sampler, timeline_of

    show = open_show(options.network, options.frames, options.footage, options.compute, options.pictures.out)
    check_sampler(show.model)
    variant = Variant(own_mask_type(show.model), show.model.sampler.mask_ratio, options.pictures.seed)

    def draw(footage: Footage) -> dict[str, bytes]:
        panels = look_at(show.model, footage, variant, batch_size=options.compute.batch_size).panels
        timeline = timeline_of(footage, panels.probability, panels.error, show.model, options.pictures.top)
        notes = [
            show.caption(footage.path),
            f"Probabilities sum to 1 within each window of {show.clip.num_frames * show.clip.sampling_rate} frames: "
            "compare them only within a window; errors are comparable everywhere.",
        ]
        return {
            "-timeline.png": timeline_png(footage, timeline, notes),
            "-timeline.csv": timeline_csv(footage, timeline),
        }

    show_videos(show, draw)
