"""``adamae timeline``: how information is spread over the time of videos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adamae.options.visualize import TimelineOptions, timeline_parser


def run(words: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: If the checkpoint has no learned sampler, a video cannot be read, or nothing can be written.
    """
    _timeline(timeline_parser().parse(words).options)
    return 0


def _timeline(options: TimelineOptions) -> None:
    from adamae.cli.showing import check_folder, describe_training, names_of, open_show, write_files
    from adamae.visualize.curves import timeline_csv, timeline_png
    from adamae.visualize.looks import Variant, look_at
    from adamae.visualize.probability import check_sampler, timeline_of

    show = open_show(options.network, options.frames, options.footage, options.compute)
    check_sampler(show.model)
    show.check_videos()
    folder = check_folder(options.pictures.out)
    videos = options.footage.videos
    variant = Variant("learnable", show.model.sampler.mask_ratio, options.pictures.seed)
    for path, name in zip(videos, names_of(videos), strict=True):
        footage = show.read(path)
        panels = look_at(show.model, footage, variant, batch_size=options.compute.batch_size).panels
        timeline = timeline_of(footage, panels.probability, panels.error, show.model, options.pictures.top)
        notes = [
            f"{Path(path).name}, seen by {Path(options.network.checkpoint).name} ({describe_training(show.file)})",
            f"Probabilities add up to one in each window of {show.clip.num_frames * show.clip.sampling_rate} frames: "
            "compare them within a window, and errors everywhere.",
        ]
        contents = {
            f"{name}-timeline.png": timeline_png(footage, timeline, notes),
            f"{name}-timeline.csv": timeline_csv(footage, timeline),
        }
        for written in write_files(folder, contents):
            print(written)
