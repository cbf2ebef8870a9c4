"""``adamae timeline``: plot the distribution of information over the time of videos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adamae.errors import UserError
from adamae.options.visualize import TimelineOptions, timeline_parser

if TYPE_CHECKING:
    from adamae.visualize.video_clips import VideoClips


def run(words: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: If the checkpoint has no learned sampler, a video cannot be read, or nothing can be written.
    """
    _timeline(timeline_parser().parse(words).options)
    return 0


def _timeline(options: TimelineOptions) -> None:
    from adamae.files import check_writable
    from adamae.visualize.curves import timeline_csv, timeline_png
    from adamae.visualize.probability import check_sampler, timeline_of
    from adamae.visualize.reconstruction import Variant, reconstruct
    from adamae.visualize.samplers import own_mask_type
    from adamae.visualize.visualizer import open_visualizer

    out = Path(options.pictures.out)
    check_writable(out, folder=True)
    visualizer = open_visualizer(options.network, options.frames, options.videos, options.compute, verbose=True)
    check_sampler(visualizer.model)
    variant = Variant(own_mask_type(visualizer.model), visualizer.model.sampler.mask_ratio, options.pictures.seed)

    clip = visualizer.clip

    def draw(video: VideoClips) -> dict[str, bytes]:
        if len(video.frames) == 1:
            raise UserError(f"{video.path}: has 1 frame, expected at least 2 for a timeline")
        panels = reconstruct(visualizer.model, video, variant, batch_size=options.compute.batch_size).panels
        timeline = timeline_of(video, panels.probability, panels.error, visualizer.model, options.pictures.top)
        notes = [
            visualizer.caption(video.path),
            f"Probabilities sum to 1 within each clip ({clip.num_frames} frames with stride {clip.sampling_rate}): "
            "compare them only within a clip; errors are comparable everywhere.",
        ]
        return {
            "-timeline.png": timeline_png(video, timeline, notes),
            "-timeline.csv": timeline_csv(video, timeline),
        }

    for path in visualizer.write(out, draw):
        print(path)
