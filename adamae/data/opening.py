"""Opens the videos of a list, with their frame counts if a scan has found them."""

from __future__ import annotations

from adamae.data.annotations import Annotations
from adamae.data.decoding import VideoReader, get_decoder
from adamae.data.frame_counts import FrameCounts, counts_of_list


class VideoOpener:
    """Opens the video of a row of a list.

    Args:
        annotations: The list. Frame counts that ``adamae scan`` has written beside it are used.
        decoder: A name from ``decoding.DECODERS``.

    Raises:
        UserError: The decoder is unknown or not installed, or the frame counts are damaged.
    """

    def __init__(self, annotations: Annotations, decoder: str) -> None:
        self._annotations = annotations
        self._open = get_decoder(decoder)
        self._counts: FrameCounts | None = counts_of_list(annotations.source, decoder) if annotations.source else None

    def __call__(self, row: int) -> VideoReader:
        """Open the video of a row.

        Raises:
            DecodeError: The video cannot be read.
        """
        video = self._annotations.video(row)
        return self._open(video, num_frames=None if self._counts is None else self._counts.of_video(video))
