"""How fast test views come: all views of a video from one decode, and the published way, a decode for each view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from time import process_time
from typing import Any

import numpy as np
import torch

from adamae.data.annotations import Annotations
from adamae.data.decoding import ChooseBoxes, VideoReader
from adamae.data.views import VideoViews, ViewPlan
from adamae.errors import UserError


@dataclass(frozen=True)
class WayReport:
    """One way to the views of a video, in seconds of one core.

    Attributes:
        decoding: Opening and decoding, for one video.
        others: Resizing and cutting, for one video.
        views_per_second: Of one core.
    """

    decoding: float
    others: float
    views_per_second: float


@dataclass(frozen=True)
class ViewReport:
    """What :func:`measure_views` found.

    Attributes:
        videos: How many were measured.
        bad: How many could not be read and were left out.
        views: Of each video.
        once: All views from one decode.
        per_view: One whole decode for each view.
        decoding_ratio: How many times the decoding of ``once`` that of ``per_view`` takes.
        ratio: The same for all of the work.
    """

    videos: int
    bad: int
    views: int
    once: WayReport
    per_view: WayReport
    decoding_ratio: float
    ratio: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    def render(self) -> str:
        """A table for the terminal."""
        rows = (("one decode", self.once), ("decode per view", self.per_view))
        lines = [
            f"{self.views} views of each of {self.videos} videos, one core",
            "",
            "way              decode ms/video  resize and cut  views/s",
            *(
                f"{name:<16}{way.decoding * 1e3:16.1f}{way.others * 1e3:16.1f}{way.views_per_second:9.1f}"
                for name, way in rows
            ),
            "",
            f"one decode is {self.decoding_ratio:.1f} times as fast in decoding and {self.ratio:.1f} times in all",
        ]
        return "\n".join([*lines, f"{self.bad} videos could not be read and were left out"] if self.bad else lines)


def measure_views(
    annotations: Annotations, plan: ViewPlan, *, num_videos: int = 8, decoder: str = "pyav"
) -> ViewReport:
    """Make the views of some videos in both ways, in turns, on one thread, and compare.

    Args:
        annotations: The videos; those measured are spread over the list.
        plan: The views.
        num_videos: How many videos.
        decoder: A name from ``decoding.DECODERS``.

    Raises:
        UserError: If none of the videos can be read.
    """
    once = _Timed(annotations, plan, decoder=decoder)
    per_view = _Timed(annotations, plan, decoder=decoder, decode_per_view=True)
    rows = np.unique(np.linspace(0, len(annotations) - 1, num_videos).astype(int)).tolist()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    measured = bad = 0
    try:
        for row in rows:
            # The first look at a file pays for what the system then remembers.
            if "reason" in once[row]:
                bad += 1
                continue
            for way in (once, per_view):
                way.measure(row)
            measured += 1
    finally:
        torch.set_num_threads(threads)
    if not measured:
        raise UserError(f"{annotations.source}: none of {len(rows)} videos can be read")
    return ViewReport(
        videos=measured,
        bad=bad,
        views=plan.num_views,
        once=once.report(measured),
        per_view=per_view.report(measured),
        decoding_ratio=per_view.decoding / once.decoding,
        ratio=per_view.whole / once.whole,
    )


class _Timed(VideoViews):
    """Takes the time of its decoder."""

    decoding = whole = 0.0
    _running = False

    def measure(self, row: int) -> None:
        self._running, start = True, process_time()
        _ = self[row]
        self.whole += process_time() - start
        self._running = False

    def open(self, row: int) -> VideoReader:
        start = process_time()
        reader = super().open(row)
        self._add(start)
        return _TimedReader(reader, self._add)

    def _add(self, start: float) -> None:
        if self._running:
            self.decoding += process_time() - start

    def report(self, videos: int) -> WayReport:
        return WayReport(
            decoding=self.decoding / videos,
            others=(self.whole - self.decoding) / videos,
            views_per_second=videos * self.plan.num_views / self.whole,
        )


class _TimedReader:
    def __init__(self, reader: VideoReader, add: Any) -> None:
        self._reader = reader
        self._add = add
        self.num_frames = reader.num_frames
        self.fps = reader.fps

    @property
    def damaged(self) -> int:
        return self._reader.damaged

    @property
    def times(self) -> np.ndarray | None:
        return self._reader.times

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        start = process_time()
        frames = self._reader.read(indices)
        self._add(start)
        return frames

    def read_boxes(self, clips: Sequence[Sequence[int] | np.ndarray], choose: ChooseBoxes) -> list[np.ndarray]:
        start = process_time()
        boxes = self._reader.read_boxes(clips, choose)
        self._add(start)
        return boxes

    def close(self) -> None:
        self._reader.close()

    def __enter__(self) -> _TimedReader:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()
