"""``adamae saliency``: the sampler's probability as a heat map over videos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adamae.options.visualize import SaliencyOptions, saliency_parser


def run(words: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: If the checkpoint has no learned sampler, a video cannot be read, or nothing can be written.
    """
    _saliency(saliency_parser().parse(words).options)
    return 0


def _saliency(options: SaliencyOptions) -> None:
    from adamae.cli.showing import check_folder, describe_training, names_of, open_show, write_files
    from adamae.visualize.film import gif_bytes, mp4_bytes, side_by_side
    from adamae.visualize.probability import check_sampler, heat_map, probability_of
    from adamae.visualize.rows import Block

    show = open_show(options.network, options.frames, options.footage, options.compute)
    check_sampler(show.model)
    show.check_videos()
    folder = check_folder(options.pictures.out)
    videos = options.footage.videos
    for path, name in zip(videos, names_of(videos), strict=True):
        footage = show.read(path)
        probability = probability_of(show.model, footage, options.compute.batch_size)
        row, scale = heat_map(footage, show.model, probability, options.pictures.opacity)
        notes = [f"{Path(path).name}, seen by {Path(options.network.checkpoint).name} ({describe_training(show.file)})"]
        frames = side_by_side(footage, [Block("", (row,))], [scale], notes, least_side=256)
        contents = {
            f"{name}-saliency.mp4": mp4_bytes(frames, footage.fps),
            f"{name}-saliency.gif": gif_bytes(frames, footage.fps),
        }
        for written in write_files(folder, contents):
            print(written)
