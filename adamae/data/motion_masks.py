"""Motion masks: the ground truth of the moving pixels, in ``<stem>.moving.npz`` beside the video.

The file stores ``moving``, the masks (T, H, W) bit-packed along the last axis, and ``shape``, their (T, H, W) before
packing.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np

from adamae.errors import UserError
from adamae.files import read_npz


def motion_mask_path(video: str | Path) -> Path:
    """Return the path of the motion masks of ``video``."""
    return Path(video).with_suffix(".moving.npz")


def has_motion_masks(video: str) -> bool:
    """Return whether ``video`` has motion masks; False if the path is inaccessible, which opening the video reports."""
    return os.path.isfile(motion_mask_path(video))  # noqa: PTH113 (pathlib raises errors)


def read_motion_masks(video: str, indices: np.ndarray) -> np.ndarray:
    """Load the motion masks of some frames of a video.

    Args:
        video: The video's path.
        indices: (T,) frame indices.

    Returns:
        (T, H, W) bool.

    Raises:
        UserError: The file is missing or does not match the video.
    """
    path = motion_mask_path(video)
    try:
        file = read_npz(path)
        packed, width = file["moving"], int(file["shape"][-1])
        return np.unpackbits(packed[indices], axis=-1, count=width).astype(bool)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file, expected the motion masks of {video}") from None
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise UserError(f"{path}: not the motion masks of {video} ({error})") from None


def motion_mask_bytes(masks: np.ndarray) -> bytes:
    """Return the content of the file for the masks (T, H, W) bool of all frames of a video."""
    content = io.BytesIO()
    np.savez_compressed(content, moving=np.packbits(masks, axis=-1), shape=np.array(masks.shape))
    return content.getvalue()
