"""``adamae visualize``: films, contact sheets, pages and arrays of sampled tokens, predictions and errors."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from adamae.errors import UserError
from adamae.options.visualize import VisualizeOptions, visualize_parser

if TYPE_CHECKING:
    from adamae.visualize.reconstruction import Reconstruction, Variant
    from adamae.visualize.video_clips import VideoClips
    from adamae.visualize.visualizer import Visualizer

# Mask ratios on the HTML page besides the requested one.
PAGE_RATIOS = (0.75, 0.9, 0.95)


def run(words: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: If the checkpoint is not a pre-trained one, a video cannot be read, or a file cannot be written;
            files written before are complete.
    """
    _visualize(visualize_parser().parse(words).options)
    return 0


def _visualize(options: VisualizeOptions) -> None:
    from adamae.visualize.visualizer import open_visualizer

    visualizer = open_visualizer(options.network, options.frames, options.videos, options.compute, options.pictures.out)
    variants = _variants(options, visualizer)
    for path in visualizer.write(lambda video: _pictures(video, options, visualizer, variants)):
        print(path)


def _variants(options: VisualizeOptions, visualizer: Visualizer) -> list[Variant]:
    """The masking variants to show side by side, validated."""
    from adamae.visualize.reconstruction import Variant
    from adamae.visualize.samplers import own_mask_type, sampler_of

    masks, model = options.masks, visualizer.model
    variants = [
        Variant(mask_type, ratio, masks.seed + draw)
        for mask_type in masks.mask_type or (own_mask_type(model),)
        for ratio in masks.mask_ratio or (model.sampler.mask_ratio,)
        for draw in range(masks.draws)
    ]
    for variant in variants:
        sampler_of(model, variant.mask_type, variant.mask_ratio)
    return variants


def _pictures(
    video: VideoClips, options: VisualizeOptions, visualizer: Visualizer, variants: Sequence[Variant]
) -> dict[str, bytes]:
    """Contents of all files of one video, keyed by suffix."""
    from adamae.progress import say
    from adamae.visualize.html import page_bytes
    from adamae.visualize.reconstruction import reconstruct
    from adamae.visualize.rows import notes_of, shared_scales, worse_than_trivial

    def result(variant: Variant) -> Reconstruction:
        return reconstruct(
            visualizer.model,
            video,
            variant,
            own_statistics=options.pictures.own_statistics,
            batch_size=options.compute.batch_size,
        )

    results = [result(variant) for variant in variants]
    say(*(f"warning: {video.path}: {sentence}" for sentence in worse_than_trivial(results)))
    notes = [visualizer.caption(video.path), *notes_of(results)]
    contents = _stills_and_films(video, results, options.pictures.columns, notes)
    if options.pictures.html:
        results += [result(variant) for variant in _other_ratios(variants, visualizer)]
        contents[".html"] = page_bytes(video, results, shared_scales(results), notes)
    return contents


def _stills_and_films(
    video: VideoClips, results: Sequence[Reconstruction], columns: int, notes: Sequence[str]
) -> dict[str, bytes]:
    """Contents of images, videos and arrays, keyed by suffix."""
    from adamae.visualize.arrays import npz_bytes
    from adamae.visualize.film import gif_bytes, mp4_bytes, side_by_side
    from adamae.visualize.rows import blocks_of, shared_scales
    from adamae.visualize.sheet import contact_sheets, png_bytes

    scales = shared_scales(results)
    blocks = blocks_of(video, results, scales)
    sheets = contact_sheets(video, blocks, scales.shown, columns, notes)
    endings = [".png"] if len(sheets) == 1 else [f"-sheet-{number}.png" for number in range(1, len(sheets) + 1)]
    # Encoding releases the GIL.
    with ThreadPoolExecutor(2) as pool:
        making = {ending: pool.submit(png_bytes, sheet) for ending, sheet in zip(endings, sheets, strict=True)}
        if len(video.frames) > 1:
            film = side_by_side(video, blocks, scales.shown, notes)
            making[".gif"] = pool.submit(gif_bytes, film, video.times)
            making[".mp4"] = pool.submit(mp4_bytes, film, video.times)
        making[".npz"] = pool.submit(npz_bytes, video, results)
        return {ending: made.result() for ending, made in making.items()}


def _other_ratios(variants: Sequence[Variant], visualizer: Visualizer) -> list[Variant]:
    """Additional mask ratios for the HTML page, if only one was requested and the sampler supports them.

    Ratios with the same number of visible tokens count as one: a frame sampler supports only a few.
    """
    from adamae.visualize.samplers import sampler_of

    def visible(variant: Variant) -> int:
        return sampler_of(visualizer.model, variant.mask_type, variant.mask_ratio).num_visible(visualizer.model.grid)

    more: list[Variant] = []
    for variant in variants if len({variant.mask_ratio for variant in variants}) == 1 else ():
        shown = {visible(variant)}
        for ratio in PAGE_RATIOS:
            other = replace(variant, mask_ratio=ratio)
            with suppress(UserError):
                if visible(other) not in shown:
                    shown.add(visible(other))
                    more.append(other)
    return more
