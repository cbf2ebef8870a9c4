"""Reconstructions of videos with one or several masks: tensors, contact sheet, film, arrays and page.

from adamae.options.visualize import VisualizeOptions
from adamae.visualize.pictures import visualize

for shown in visualize(VisualizeOptions.of("runs/mine", "holiday.mp4", mask_ratio=(0.75, 0.95))):
    print(shown.video.path, [result.statistics["target_error"] for result in shown.results])
    shown.write("pictures")
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from adamae.errors import UserError
from adamae.models import Pretrainer
from adamae.options.visualize import MaskOptions, VisualizeOptions
from adamae.plain_text import one_line
from adamae.visualize.arrays import npz_bytes
from adamae.visualize.film import gif_bytes, mp4_bytes, side_by_side
from adamae.visualize.html import page_bytes
from adamae.visualize.reconstruction import Reconstruction, Variant, reconstruct
from adamae.visualize.rows import blocks_of, notes_of, shared_scales, worse_than_trivial
from adamae.visualize.samplers import own_mask_type, sampler_of
from adamae.visualize.sheet import contact_sheets, png_bytes
from adamae.visualize.video_clips import VideoClips
from adamae.visualize.visualizer import Visualizer, open_visualizer, write_files

# Mask ratios on the HTML page besides the requested one.
PAGE_RATIOS = (0.75, 0.9, 0.95)


@dataclass(frozen=True)
class VideoPictures:
    """Reconstructions of one video, from which its files are drawn.

    Attributes:
        name: Start of the names of the files.
        video: The shown frames and their clips.
        results: One reconstruction for each requested mask.
        page_results: Those of the HTML page: ``results`` and further mask ratios. None: there is no page.
        notes: Lines below the pictures.
        columns: Frames in a row of the contact sheet.
    """

    name: str
    video: VideoClips
    results: tuple[Reconstruction, ...]
    page_results: tuple[Reconstruction, ...] | None
    notes: tuple[str, ...]
    columns: int

    @property
    def warnings(self) -> list[str]:
        """One sentence for each mask with which the model is no better than a trivial predictor."""
        return worse_than_trivial(self.results)

    def files(self) -> dict[str, bytes]:
        """Draw the pictures.

        Returns:
            Contents by suffix: ``.png``, or ``-sheet-1.png`` and so on for a long contact sheet; for videos ``.gif``
            and ``.mp4``; ``.npz``; and ``.html`` if there is a page.
        """
        scales = shared_scales(self.results)
        blocks = blocks_of(self.video, self.results, scales)
        sheets = contact_sheets(self.video, blocks, scales.shown, self.columns, self.notes)
        endings = [".png"] if len(sheets) == 1 else [f"-sheet-{number}.png" for number in range(1, len(sheets) + 1)]
        # Encoding releases the GIL.
        with ThreadPoolExecutor(2) as pool:
            making = {ending: pool.submit(png_bytes, sheet) for ending, sheet in zip(endings, sheets, strict=True)}
            if len(self.video.frames) > 1:
                film = side_by_side(self.video, blocks, scales.shown, self.notes)
                making[".gif"] = pool.submit(gif_bytes, film, self.video.times)
                making[".mp4"] = pool.submit(mp4_bytes, film, self.video.times)
            making[".npz"] = pool.submit(npz_bytes, self.video, self.results)
            contents = {ending: made.result() for ending, made in making.items()}
        if self.page_results is not None:
            page = page_bytes(self.video, self.page_results, shared_scales(self.page_results), self.notes)
            contents[".html"] = page
        return contents

    def write(self, folder: str | Path) -> list[Path]:
        """Draw the pictures and write them to a folder, which is created.

        Returns:
            Their paths.

        Raises:
            UserError: If one cannot be written.
        """
        return write_files(Path(folder), {self.name + suffix: content for suffix, content in self.files().items()})


def visualize(options: VisualizeOptions, *, verbose: bool = False) -> Iterator[VideoPictures]:
    """Reconstruct videos or images with a pre-trained model, one after the other. No files are written.

    Args:
        options: All options of the visualisation; ``out`` has no effect.
        verbose: Print the checkpoint's training, notes and warnings on standard error.

    Returns:
        An iterator over the videos that can be read. It raises a UserError at its end if others cannot.

    Raises:
        UserError: If the checkpoint is not a pre-trained one, a mask does not fit the model, or a list or folder of
            videos does not exist.
    """
    visualizer = open_visualizer(options.network, options.frames, options.videos, options.compute, verbose=verbose)
    return _reconstructed(options, visualizer, _variants(visualizer.model, options.masks))


def _reconstructed(
    options: VisualizeOptions, visualizer: Visualizer, variants: Sequence[Variant]
) -> Iterator[VideoPictures]:
    model, pictures = visualizer.model, options.pictures
    others = other_ratios(model, variants) if pictures.html else []
    for name, video in visualizer.videos():
        result = partial(
            reconstruct, model, video, own_statistics=pictures.own_statistics, batch_size=options.compute.batch_size
        )
        results = tuple(result(variant) for variant in variants)
        shown = VideoPictures(
            name=name,
            video=video,
            results=results,
            page_results=(*results, *(result(variant) for variant in others)) if pictures.html else None,
            notes=(visualizer.caption(video.path), *notes_of(results)),
            columns=pictures.columns,
        )
        visualizer.reporter.say(*(f"warning: {one_line(video.path)}: {sentence}" for sentence in shown.warnings))
        yield shown


def _variants(model: Pretrainer, masks: MaskOptions) -> list[Variant]:
    """The masks to show side by side, which fit the model.

    Raises:
        UserError: If one does not.
    """
    variants = [
        Variant(mask_type, ratio, masks.seed + draw)
        for mask_type in masks.mask_type or (own_mask_type(model),)
        for ratio in masks.mask_ratio or (model.sampler.mask_ratio,)
        for draw in range(masks.draws)
    ]
    for variant in variants:
        sampler_of(model, variant.mask_type, variant.mask_ratio)
    return variants


def other_ratios(model: Pretrainer, variants: Sequence[Variant]) -> list[Variant]:
    """Additional mask ratios for the HTML page, if only one was requested and the sampler supports them.

    Ratios with the same number of visible tokens count as one: a frame sampler supports only a few.
    """

    def visible(variant: Variant) -> int:
        return sampler_of(model, variant.mask_type, variant.mask_ratio).num_visible(model.grid)

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
