"""The interactive HTML page: a single file without external resources."""

from __future__ import annotations

import base64
import io
import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from adamae.visualize.colours import Scale, colour_table
from adamae.visualize.panels import MASKED_GREY, SECONDARY
from adamae.visualize.reconstruction import Reconstruction
from adamae.visualize.rows import Scales, title_of
from adamae.visualize.video_clips import VideoClips

# Maximum size of all images, so that the page with everything else stays below ten megabytes.
PICTURE_BYTES = 6_000_000
LOSSLESS = 100
# Number of images on which compressions are tried.
_TRIED = 24


@dataclass(frozen=True)
class Packing:
    """Compression of images.

    Attributes:
        quality: WebP quality; 100 is lossless.
        shrunk: Downscaling factor.
    """

    quality: int
    shrunk: int = 1

    def __str__(self) -> str:
        """Describe the compression in words."""
        size = f", a pixel for {self.shrunk} x {self.shrunk}" if self.shrunk > 1 else ""
        return f"WebP, {'without loss' if self.quality == LOSSLESS else f'quality {self.quality}'}{size}"


# Candidates, best first.
_PACKINGS = (
    *(Packing(quality) for quality in (LOSSLESS, 90, 75, 60, 45, 30)),
    *(Packing(quality, shrunk) for shrunk in (2, 4) for quality in (75, 45)),
)


def page_bytes(video: VideoClips, results: Sequence[Reconstruction], scales: Scales, notes: Sequence[str]) -> bytes:
    """The HTML page of a video.

    Args:
        video: The video.
        results: Its reconstructions, with the one shown first in front; those with the same seed and different mask
            ratios share a control.
        scales: Colour scales of error and probability.
        notes: Notes for the reader.

    Returns:
        HTML in UTF-8.
    """
    first, results = results[0], _in_order(results)
    films = [video.frames, *(video.in_time(result.panels.prediction) for result in results)]
    packing = choose_packing(films)
    grid = results[0].panels.grid
    frames, *predictions = ([_webp(frame, packing) for frame in film.numpy()] for film in films)
    data = {
        "title": video.name,
        "notes": [
            *notes,
            "Error, visible if masked: error of the visible tokens in a second sample that masks them, "
            "in the first clip of each window. "
            "Trivial predictor: a prediction that needs no network, on the masked tokens.",
            f"Images are compressed ({packing}); the .npz file next to this page contains the exact values.",
        ],
        "size": video.frames.shape[2],
        "grid": [grid.t, grid.h, grid.w],
        "patch": grid.patch_size,
        "hidden": MASKED_GREY,
        "secondary": SECONDARY,
        "noun": video.noun,
        "plane": (video.cut.clip * grid.t + video.cut.position // grid.tubelet_size).tolist(),
        "numbers": [video.first + frame for frame in range(len(video.frames))],
        "seconds": [round(video.seconds(frame), 4) for frame in range(len(video.frames))],
        "end": round(video.seconds(len(video.frames)), 4),
        "scales": {
            name: _scale(scale)
            for name, scale in (("probability", scales.probability), ("error", scales.error))
            if scale is not None
        },
        "video": frames,
        "variants": [
            _variant(result, results, prediction) for result, prediction in zip(results, predictions, strict=True)
        ],
        # By identity: results contain tensors, which cannot be compared to a single bool.
        "first": next(number for number, result in enumerate(results) if result is first),
    }
    folder = files("adamae.visualize") / "page"
    page = (folder / "page.html").read_text(encoding="utf-8")
    # The data must not contain a tag that ends its element.
    text = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    contents = {
        "@TITLE@": escape(video.name),
        "@NOUN@": video.noun,
        "@STYLE@": (folder / "page.css").read_text(encoding="utf-8"),
        "@SCRIPT@": (folder / "page.js").read_text(encoding="utf-8"),
        "@DATA@": text,
    }
    # In one pass, because a video's name may look like a placeholder.
    return re.sub("|".join(contents), lambda mark: contents[mark[0]], page).encode()


def choose_packing(films: Iterable[Tensor]) -> Packing:
    """Choose the best compression with which all images of (F, S, S, 3) films fit into a page."""
    films = list(films)
    count = sum(len(film) for film in films)
    some = [film[number] for film in films for number in range(0, len(film), max(count // _TRIED, 1))]
    for packing in _PACKINGS[:-1]:
        size = sum(len(_webp(frame.numpy(), packing)) for frame in some) / len(some)
        if size * count < PICTURE_BYTES:
            return packing
    return _PACKINGS[-1]


def _in_order(results: Sequence[Reconstruction]) -> list[Reconstruction]:
    """Sort by mask ratio within each sampler and seed, which stay in the requested order."""
    groups = list(dict.fromkeys((result.variant.mask_type, result.variant.seed) for result in results))
    return sorted(
        results,
        key=lambda result: (groups.index((result.variant.mask_type, result.variant.seed)), result.variant.mask_ratio),
    )


def _variant(result: Reconstruction, among: Sequence[Reconstruction], prediction: list[str]) -> dict[str, Any]:
    panels, title = result.panels, title_of(result, among)
    return {
        "label": str(title),
        "group": ", ".join(filter(None, (title.method, title.draw))),
        "ratio": title.ratio.replace(" masked", ""),
        "mask_ratio": result.variant.mask_ratio,
        "prediction": prediction,
        # 1, or 2 if the encoder sees a mask token.
        "visible": _text(panels.visible.numpy().astype(np.uint8) + panels.secondary.numpy()),
        "error": _text(panels.error.numpy()),
        "if_hidden": _text(result.error_if_hidden.numpy()),
        "probability": _text(panels.probability.numpy()) if panels.prefers else None,
        "score": result.sampler.sampler_class.score_name,
        "statistics": {name: value for name, value in result.statistics.items() if math.isfinite(value)},
    }


def _scale(scale: Scale) -> dict[str, Any]:
    return {
        "what": scale.what,
        "high": scale.high,
        "end": scale.end,
        "colours": _text(colour_table(scale.colours)),
    }


def _text(array: np.ndarray) -> str:
    little = array.astype(array.dtype.newbyteorder("<"))
    return base64.b64encode(np.ascontiguousarray(little).tobytes()).decode()


def _webp(frame: np.ndarray, packing: Packing) -> str:
    file = io.BytesIO()
    image, quality = Image.fromarray(frame), packing.quality
    # reduce(1) would only copy.
    image = image.reduce(packing.shrunk) if packing.shrunk > 1 else image
    image.save(file, format="WEBP", lossless=quality == LOSSLESS, quality=quality, method=0)
    return base64.b64encode(file.getvalue()).decode()
