"""Boxes of several clips, cut from frames one at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adamae.data.augmentation import Box, crop
from adamae.data.decoding.protocol import ChooseBoxes, unique_sorted


class Cutter:
    """Cuts each frame as it comes, so that whole frames are never kept.

    Args:
        clips: For each clip its (T,) frame numbers; they may share frames.
        num_frames: Frames in the video.
        choose: Names the box of each clip, once the size is known.

    Attributes:
        wanted: Distinct frame numbers, rising.
        clips: For each clip (T, h, w, 3) uint8, as far as its frames have come; empty before the first.

    Raises:
        IndexError: A number lies outside the video, or there is none.
    """

    def __init__(self, clips: Sequence[Sequence[int] | np.ndarray], num_frames: int, choose: ChooseBoxes) -> None:
        self.wanted, rows = unique_sorted(np.concatenate(clips), num_frames)
        self.clips: list[np.ndarray] = []
        self._rows = np.split(rows, np.cumsum([len(clip) for clip in clips])[:-1])
        self._choose = choose
        self._boxes: Sequence[Box] = ()

    def begin(self, height: int, width: int) -> None:
        """Tell the size of upright frames."""
        self._boxes = self._choose(height, width)
        self.clips = [
            np.empty((len(rows), box.height, box.width, 3), np.uint8)
            for rows, box in zip(self._rows, self._boxes, strict=True)
        ]

    @property
    def is_blind(self) -> bool:
        """Whether no box holds a pixel: then frames need not be converted."""
        return not any(clip.size for clip in self.clips)

    def add(self, row: int, pixels: np.ndarray) -> None:
        """Take the ``row``-th of the wanted frames, (H, W, 3) uint8, upright."""
        for clip, rows, box in zip(self.clips, self._rows, self._boxes, strict=True):
            for place in np.flatnonzero(rows == row):
                clip[place] = crop(pixels[None], box)[0]
