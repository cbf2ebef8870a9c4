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

    Returns:
        A ``.npz`` with the arrays that the table in PRETRAIN.md, "Reading the panels", names with shapes and types.
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
        "masked": np.array([look.mask_ratio for look in looks]),
        "seed": np.array([look.variant.seed for look in looks]),
        "prediction_statistics": np.array(looks[0].panels.statistics.value),
    }
    if footage.moving is not None:
        arrays["moving"] = footage.moving.numpy()
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()
