"""The numbers behind the pictures, as one file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from adamae.visualize.footage import Footage
from adamae.visualize.looks import Look


def npz_bytes(footage: Footage, looks: Sequence[Look]) -> bytes:
    """Everything that is drawn, uncoloured.

    K variants, C clips of N = t * h * w tokens in raster order (time, rows, columns), F frames of S x S pixels.

    Returns:
        A ``.npz``: "video" (F, S, S, 3) uint8, "clip" and "position" (F,) where each frame is shown,
        "frame" (F,) its number in the file, "numbers" (C, T) the clips' frames, "grid" (t, h, w), "visible" (K, C, N)
        bool, "error" and "error_if_hidden" (K, C, N) float32 with NaN where there is none, "probability" (K, C, N)
        float32 over an even draw's, "prediction" (K, F, S, S, 3) uint8, "mask_type" (K,), "mask_ratio" (K,), "seed"
        (K,), "prediction_statistics", and "moving" (F, S, S) bool where it is known.
    """
    grid = looks[0].panels.grid
    arrays: dict[str, Any] = {
        "video": footage.frames.numpy(),
        "clip": footage.cut.clip,
        "position": footage.cut.position,
        "frame": footage.first + np.arange(len(footage.frames)),
        "numbers": footage.first + footage.cut.numbers,
        "grid": np.array([grid.t, grid.h, grid.w]),
        "visible": np.stack([look.panels.visible.numpy() for look in looks]),
        "error": np.stack([look.panels.error.numpy() for look in looks]),
        "error_if_hidden": np.stack([look.error_if_hidden.numpy() for look in looks]),
        "probability": np.stack([look.panels.probability.numpy() for look in looks]),
        "prediction": np.stack([footage.in_time(look.panels.prediction).numpy() for look in looks]),
        "mask_type": np.array([look.variant.mask_type for look in looks]),
        "mask_ratio": np.array([look.variant.mask_ratio for look in looks]),
        "seed": np.array([look.variant.seed for look in looks]),
        "prediction_statistics": np.array(looks[0].panels.statistics.value),
    }
    if footage.moving is not None:
        arrays["moving"] = footage.moving.numpy()
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()
