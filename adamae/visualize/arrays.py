"""The data behind the panels, as one file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from adamae.visualize.reconstruction import Reconstruction
from adamae.visualize.video_clips import VideoClips


def npz_bytes(video: VideoClips, results: Sequence[Reconstruction]) -> bytes:
    """Return the data of all panels, without colours.

    Returns:
        A ``.npz`` file with the arrays that are listed in PRETRAIN.md, "Reading the panels", with shapes and types.
    """
    grid = results[0].panels.grid
    prediction = np.empty((len(results), *video.frames.shape), np.uint8)
    for number, result in enumerate(results):
        prediction[number] = video.in_time(result.panels.prediction).numpy()
    arrays: dict[str, Any] = {
        "video": video.frames.numpy(),
        "clip": video.cut.clip,
        "position": video.cut.position,
        "frame": video.first + np.arange(len(video.frames)),
        "numbers": video.first + video.cut.frames,
        "grid": np.array([grid.t, grid.h, grid.w]),
        "visible": np.stack([result.panels.visible.numpy() for result in results]),
        "secondary": np.stack([result.panels.secondary.numpy() for result in results]),
        "error": np.stack([result.panels.error.numpy() for result in results]),
        "error_if_hidden": np.stack([result.error_if_hidden.numpy() for result in results]),
        "probability": np.stack([result.panels.probability.numpy() for result in results]),
        "prediction": prediction,
        "mask_type": np.array([result.variant.mask_type for result in results]),
        "mask_ratio": np.array([result.variant.mask_ratio for result in results]),
        "masked": np.array([result.mask_ratio for result in results]),
        "seed": np.array([result.variant.seed for result in results]),
        "prediction_statistics": np.array(results[0].panels.statistics.value),
    }
    if video.motion_mask is not None:
        arrays["moving"] = video.motion_mask.numpy()
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()
