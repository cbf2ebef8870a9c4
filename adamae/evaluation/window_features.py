"""Features of sliding windows over complete videos, from a frozen encoder."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Lock
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from adamae.checkpoints.networks import FrozenEncoder
from adamae.data.annotations import Annotations
from adamae.data.decoding import DecodeError, VideoReader, VideoSource, get_decoder
from adamae.data.read_ahead import read_ahead
from adamae.data.views import ViewPlan
from adamae.errors import UserError
from adamae.evaluation.scoring import Damaged, Unscored, forward_in_batches
from adamae.evaluation.windows import Windows, WindowTimes, read_windows, window_times
from adamae.plain_text import counted
from adamae.progress import ProgressCallback

# Command-line name -> method of the encoder.
LEVELS: dict[str, Callable[[FrozenEncoder], Callable[[Tensor], Tensor]]] = {
    "window": lambda encoder: encoder.forward,
    "time": lambda encoder: encoder.times,
    "tubelet": lambda encoder: encoder.tokens,
}


@dataclass(frozen=True)
class WindowFeatures:
    """Features of the windows of all videos: n windows in the order of the list and of time.

    Attributes:
        features: (n, D) float32 for "window", (n, t, D) for "time", (n, t, h, w, D) for "tubelet".
        row: (n,) int64 row of the video in the list.
        path: File of the video for each window.
        label: (n,) int64, -1 for none.
        start_frame: (n,) int64, first frame.
        end_frame: (n,) int64, frame after the last.
        start: (n,) float64 seconds, NaN if unknown.
        end: (n,) float64 seconds.
        unread: Videos without features.
        damaged: Videos with damaged packets, which were skipped.
    """

    features: np.ndarray
    row: np.ndarray
    path: list[str]
    label: np.ndarray
    start_frame: np.ndarray
    end_frame: np.ndarray
    start: np.ndarray
    end: np.ndarray
    unread: list[Unscored] = field(default_factory=list)
    damaged: list[Damaged] = field(default_factory=list)


def extract_windows(
    encoder: FrozenEncoder,
    annotations: Annotations,
    *,
    windows: Windows,
    plan: ViewPlan,
    level: str = "window",
    decoder: str = "pyav",
    batch_size: int = 16,
    num_threads: int = 0,
    precision: str = "fp32",
    progress: ProgressCallback | None = None,
) -> WindowFeatures:
    """Compute features of sliding windows over complete videos.

    Args:
        encoder: The encoder, on its device.
        annotations: The videos.
        windows: Windows of a video.
        plan: Resize and crop of the frames; a single crop.
        level: "window": one feature per window; "time": one per temporal position, the frames of a tubelet; "tubelet":
            one per token.
        decoder: A name from ``decoding.DECODERS``.
        batch_size: Windows per forward pass.
        num_threads: Videos that are decoded at the same time, while the network computes; up to four batches of each
            are in memory. 0 decodes before it computes.
        precision: "fp32", "bf16" or "fp16".
        progress: Called with the number of completed videos and their total.

    Raises:
        UserError: If the level is unknown or needs tokens or frames that are not encoded, or no video has features.
    """
    if level not in LEVELS:
        raise UserError(f"level is {level!r}, expected one of {', '.join(LEVELS)}")
    if level != "window" and encoder.selects_tokens:
        raise UserError(f"level is {level!r}, which needs all tokens; expected window, or token_selection none")
    if level != "window" and encoder.selects_frames:
        raise UserError(f"level is {level!r}, which needs all frames; expected window, or frame_selection none")
    encode = LEVELS[level](encoder)
    decode = _WindowDecoder(annotations, windows, plan, get_decoder(decoder), batch_size)
    parts: list[_VideoWindows] = []
    unread: list[Unscored] = []
    rows = range(len(annotations))
    with closing(read_ahead((partial(decode, row) for row in rows), num_threads)) as videos:
        for row, decoded in zip(rows, videos, strict=False):
            found = _encode_windows(row, annotations.path(row), decoded, encode, batch_size, precision)
            if isinstance(found, Unscored):
                unread.append(found)
            else:
                parts.append(found)
            if progress is not None:
                progress(row + 1, len(annotations))
    damaged = [Damaged(part.row, annotations.path(part.row), part.damaged) for part in parts if part.damaged]
    joined = _joined(annotations, parts, unread, damaged)
    if level == "tubelet":
        features = joined.features.reshape(len(joined.features), *encoder.feature_grid, -1)
        return replace(joined, features=features)
    return joined


class _VideoWindows(NamedTuple):
    """Features of the windows of one video.

    Attributes:
        row: Row of the video in the list.
        times: Positions of the n windows.
        features: (n, ..., D) float32.
        damaged: Number of skipped packets.
    """

    row: int
    times: WindowTimes
    features: np.ndarray
    damaged: int


class _DecodedWindows(NamedTuple):
    """Some windows of a video.

    Attributes:
        times: Positions of all windows of the video.
        clips: (n, T, S, S, 3) uint8, the next n windows.
        damaged: Number of packets skipped so far.
    """

    times: WindowTimes
    clips: np.ndarray
    damaged: int


class _WindowDecoder:
    """Decodes the windows of a row's video, in any thread; the arguments are those of :func:`extract_windows`."""

    def __init__(
        self,
        annotations: Annotations,
        windows: Windows,
        plan: ViewPlan,
        open_video: Callable[[VideoSource], VideoReader],
        batch_size: int,
    ) -> None:
        self._annotations = annotations
        self._windows = windows
        self._plan = plan
        self._open_video = open_video
        self._batch_size = batch_size
        # Shards that are open are shared by all threads.
        self._lock = Lock()

    def __call__(self, row: int) -> Generator[_DecodedWindows, None, None]:
        """Decode the windows of a row, a batch at a time.

        Raises:
            DecodeError: The video cannot be read.
        """
        with self._lock:
            video = self._annotations.video(row)
        with self._open_video(video) as reader:
            times = window_times(self._windows, reader)
            for clips in read_windows(self._windows, reader, self._plan, self._batch_size):
                yield _DecodedWindows(times, clips, reader.damaged)


def _encode_windows(
    row: int,
    path: str,
    decoded: Iterator[_DecodedWindows],
    encode: Callable[[Tensor], Tensor],
    batch_size: int,
    precision: str,
) -> _VideoWindows | Unscored:
    """Encode the windows of a video, at least one; the other arguments are those of :func:`extract_windows`."""
    features = []
    try:
        for part in decoded:
            clips = torch.from_numpy(part.clips)
            features.append(forward_in_batches(encode, clips, batch_size, precision).cpu().numpy())
    except DecodeError as error:
        return Unscored(row, path, error.reason)
    found = _VideoWindows(row, part.times, np.concatenate(features), part.damaged)
    return found if np.isfinite(found.features).all() else Unscored.not_finite(row, path, "features")


def _joined(
    annotations: Annotations, parts: Sequence[_VideoWindows], unread: list[Unscored], damaged: list[Damaged]
) -> WindowFeatures:
    """Concatenate the windows of all videos.

    Raises:
        UserError: If there are none.
    """
    if not parts:
        raise UserError(
            f"{annotations.source}: none of {counted(len(annotations), annotations.noun)} has features, "
            f"for example {unread[0].path}: {unread[0].reason}"
        )
    rows = np.repeat([part.row for part in parts], [len(part.features) for part in parts])
    return WindowFeatures(
        features=np.concatenate([part.features for part in parts]),
        row=rows,
        path=[annotations.path(int(row)) for row in rows],
        label=annotations.labels[rows],
        start_frame=np.concatenate([part.times.start_frame for part in parts]),
        end_frame=np.concatenate([part.times.end_frame for part in parts]),
        start=np.concatenate([part.times.start for part in parts]),
        end=np.concatenate([part.times.end for part in parts]),
        unread=unread,
        damaged=damaged,
    )
