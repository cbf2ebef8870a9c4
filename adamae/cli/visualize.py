"""``adamae visualize``: films, contact sheets, pages and arrays of what a model draws and predicts."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from adamae.errors import UserError
from adamae.options.visualize import VisualizeOptions, visualize_parser

if TYPE_CHECKING:
    from adamae.cli.showing import Show
    from adamae.visualize.footage import Footage
    from adamae.visualize.looks import Look, Variant

# Ratios that a page offers besides the one asked for.
PAGE_RATIOS = (0.75, 0.9, 0.95)


def run(words: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: If the checkpoint has nothing to show, a video cannot be read, or nothing can be written; whatever
            has been written before is whole.
    """
    _visualize(visualize_parser().parse(words).options)
    return 0


def _visualize(options: VisualizeOptions) -> None:
    from adamae.cli.showing import open_show, show_videos

    show = open_show(options.network, options.frames, options.footage, options.compute, options.pictures.out)
    variants = _variants(options, show)
    show_videos(show, lambda footage: _pictures(footage, options, show, variants))


def _variants(options: VisualizeOptions, show: Show) -> list[Variant]:
    """What is shown side by side, checked."""
    from adamae.visualize.looks import Variant
    from adamae.visualize.networks import own_mask_type, sampler_of

    masks, model = options.masks, show.model
    variants = [
        Variant(mask_type, ratio, masks.seed + draw)
        for mask_type in masks.mask_type or (own_mask_type(model),)
        for ratio in masks.mask_ratio or (model.sampler.mask_ratio,)
        for draw in range(masks.draws)
    ]
    for variant in variants:
        sampler_of(model, variant.mask_type, variant.mask_ratio)
    return variants


def _pictures(footage: Footage, options: VisualizeOptions, show: Show, variants: Sequence[Variant]) -> dict[str, bytes]:
    """Contents of all files of one video, by what their names end in."""
    from adamae.progress import say
    from adamae.visualize.html import page_bytes
    from adamae.visualize.looks import look_at
    from adamae.visualize.rows import notes_of, shared_scales, worse_than_trivial

    def look(variant: Variant) -> Look:
        return look_at(
            show.model,
            footage,
            variant,
            own_statistics=options.pictures.own_statistics,
            batch_size=options.compute.batch_size,
        )

    looks = [look(variant) for variant in variants]
    say(*(f"warning: {footage.path}: {sentence}" for sentence in worse_than_trivial(looks)))
    notes = [show.caption(footage.path), *notes_of(looks)]
    contents = _stills_and_films(footage, looks, options.pictures.columns, notes)
    if options.pictures.html:
        looks += [look(variant) for variant in _other_ratios(variants, show)]
        contents[".html"] = page_bytes(footage, looks, shared_scales(looks), notes)
    return contents


def _stills_and_films(footage: Footage, looks: Sequence[Look], columns: int, notes: Sequence[str]) -> dict[str, bytes]:
    """Contents of files by what follows the video's name in theirs."""
    from adamae.visualize.arrays import npz_bytes
    from adamae.visualize.film import gif_bytes, mp4_bytes, side_by_side
    from adamae.visualize.rows import blocks_of, shared_scales
    from adamae.visualize.sheet import contact_sheets, png_bytes

    scales = shared_scales(looks)
    blocks = blocks_of(footage, looks, scales)
    film = side_by_side(footage, blocks, scales.shown, notes)
    sheets = contact_sheets(footage, blocks, scales.shown, columns, notes)
    endings = [".png"] if len(sheets) == 1 else [f"-sheet-{number}.png" for number in range(1, len(sheets) + 1)]
    # Each of them leaves Python for most of its time.
    with ThreadPoolExecutor(2) as pool:
        making = {
            **{ending: pool.submit(png_bytes, sheet) for ending, sheet in zip(endings, sheets, strict=True)},
            ".gif": pool.submit(gif_bytes, film, footage.times),
            ".mp4": pool.submit(mp4_bytes, film, footage.times),
            ".npz": pool.submit(npz_bytes, footage, looks),
        }
        return {ending: made.result() for ending, made in making.items()}


def _other_ratios(variants: Sequence[Variant], show: Show) -> list[Variant]:
    """More ratios for a page's control, where only one was asked for and the sampler can draw them.

    Ratios at which as many tokens stay visible are one: a sampler of whole frames has only so many.
    """
    from adamae.visualize.networks import sampler_of

    def visible(variant: Variant) -> int:
        return sampler_of(show.model, variant.mask_type, variant.mask_ratio).num_visible(show.model.grid)

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
