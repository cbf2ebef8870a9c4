"""The gesture clips as a data set with motion masks: pre-training parts, held-out parts, and moving regions of them.

    .venv/bin/python scripts/benchmarks/real_clips.py /my/clips runs/real

Each clip is cut in time as in gestures.py. There are no labels of moving regions, so a pixel counts as moving if it
differs strongly from the previous frame after that frame was shifted onto the current one (a camera pan is not motion).
The masks are stored beside the videos like those of ``adamae synthesize``.
"""

from __future__ import annotations

import argparse
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
from gesture_parts import write_parts

from adamae.data.decoding import get_decoder
from adamae.data.motion_masks import motion_mask_bytes, motion_mask_path
from adamae.errors import UserError
from adamae.files import write_whole

PARTS, GAP, LEAST = 4, 3, 8
# Threshold, of 255, for the mean difference over colours and a square neighbourhood of this side in pixels; sensor
# noise stays below it.
THRESHOLD, NEIGHBOURHOOD = 12, 3


def registered(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return ``before`` (H, W, 3) shifted by whole pixels onto ``after``, by phase correlation of their brightness."""
    spectra = [np.fft.rfft2(frame.mean(axis=2) - frame.mean()) for frame in (before, after)]
    cross = spectra[1] * spectra[0].conj()
    peaks = np.fft.irfft2(cross / np.maximum(np.abs(cross), 1e-9), s=before.shape[:2])
    shift = np.unravel_index(peaks.argmax(), peaks.shape)
    return np.roll(before, shift, axis=(0, 1))


def moving_regions(frames: np.ndarray) -> np.ndarray:
    """Compute the moving pixels of each frame.

    Args:
        frames: (T, H, W, 3) uint8, at least two.

    Returns:
        (T, H, W) bool; the first frame has the mask of the second.
    """
    frames = frames.astype(np.float32)
    masks = []
    for before, after in pairwise(frames):
        difference = np.abs(after - registered(before, after)).mean(axis=2)
        masks.append(_box_mean(difference, NEIGHBOURHOOD) > THRESHOLD)
    return np.stack([masks[0], *masks])


def _box_mean(image: np.ndarray, size: int) -> np.ndarray:
    """Return (H, W) means over squares with a side of ``size`` pixels, with edges repeated."""
    padded = np.pad(image, size // 2, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size))
    return windows.mean(axis=(2, 3))


def write_masks(folder: Path) -> float:
    """Write the mask of every video below a folder; return the mean fraction of moving pixels.

    Raises:
        UserError: If a video cannot be read.
    """
    shares = []
    for path in sorted(folder.rglob("*.mp4")):
        with get_decoder()(str(path)) as reader:
            masks = moving_regions(reader.read(np.arange(reader.num_frames)))
        write_whole(motion_mask_path(path), motion_mask_bytes(masks))
        shares.append(masks.mean())
    return float(np.mean(shares))


def main() -> int:
    """Write the data set."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clips", type=Path, help="folder with asl_GESTURE.mkv")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--short_side", type=int, default=64, help="pixels; that of the network's clips")
    given = parser.parse_args()
    try:
        write_parts(given.clips, given.out, parts=PARTS, gap=GAP, short_side=given.short_side, least=LEAST)
        print(f"{write_masks(given.out):.4f} of the pixels move")
    except UserError as error:
        print(f"real_clips: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
