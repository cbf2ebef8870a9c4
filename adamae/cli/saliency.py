"""``adamae saliency``: overlay the sampler's probability on videos as a heat map."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adamae.options.visualize import SaliencyOptions, saliency_parser

if TYPE_CHECKING:
    from adamae.visualize.video_clips import VideoClips


def run(words: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: If the checkpoint has no learned sampler, a video cannot be read, or nothing can be written.
    """
    _saliency(saliency_parser().parse(words).options)
    return 0


def _saliency(options: SaliencyOptions) -> None:
    from adamae.files import check_writable
    from adamae.visualize.film import gif_bytes, mp4_bytes, side_by_side
    from adamae.visualize.probability import check_sampler, heat_map, probability_of
    from adamae.visualize.rows import Block
    from adamae.visualize.sheet import png_bytes
    from adamae.visualize.visualizer import open_visualizer

    out = Path(options.pictures.out)
    check_writable(out, folder=True)
    visualizer = open_visualizer(options.network, options.frames, options.videos, options.compute, verbose=True)
    check_sampler(visualizer.model)

    def draw(video: VideoClips) -> dict[str, bytes]:
        probability = probability_of(visualizer.model, video, options.compute.batch_size)
        row, scale = heat_map(video, visualizer.model, probability, options.pictures.opacity)
        notes = [visualizer.caption(video.path)]
        frames = side_by_side(video, [Block("", (row,))], [scale], notes, least_side=256)
        if len(frames) == 1:
            return {"-saliency.png": png_bytes(frames[0])}
        return {
            "-saliency.mp4": mp4_bytes(frames, video.times),
            "-saliency.gif": gif_bytes(frames, video.times),
        }

    for path in visualizer.write(out, draw):
        print(path)
