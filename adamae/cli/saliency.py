"""``adamae saliency``: the sampler's probability as a heat map over videos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adamae.options.visualize import SaliencyOptions, saliency_parser

if TYPE_CHECKING:
    from adamae.visualize.footage import Footage


def run(words: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: If the checkpoint has no learned sampler, a video cannot be read, or nothing can be written.
    """
    _saliency(saliency_parser().parse(words).options)
    return 0


def _saliency(options: SaliencyOptions) -> None:
    from adamae.cli.showing import open_show, show_videos
    from adamae.visualize.film import gif_bytes, mp4_bytes, side_by_side
    from adamae.visualize.probability import check_sampler, heat_map, probability_of
    from adamae.visualize.rows import Block

    show = open_show(options.network, options.frames, options.footage, options.compute, options.pictures.out)
    check_sampler(show.model)

    def draw(footage: Footage) -> dict[str, bytes]:
        probability = probability_of(show.model, footage, options.compute.batch_size)
        row, scale = heat_map(footage, show.model, probability, options.pictures.opacity)
        notes = [show.caption(footage.path)]
        frames = side_by_side(footage, [Block("", (row,))], [scale], notes, least_side=256)
        return {
            "-saliency.mp4": mp4_bytes(frames, footage.times),
            "-saliency.gif": gif_bytes(frames, footage.times),
        }

    show_videos(show, draw)
