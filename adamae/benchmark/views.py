"""Throughput of test views on one core."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from time import process_time
from typing import Any

import numpy as np

from adamae.benchmark.loader import one_thread
from adamae.data.annotations import Annotations
from adamae.data.decoding import DecodedFrame, VideoReader
from adamae.data.views import VideoViews, ViewPlan
from adamae.errors import UserError
from adamae.plain_text import counted


@dataclass(frozen=True)
class ViewReport:
    """Result of :func:`measure_views`, in processor time of one core.

    Attributes:
        videos: Number of measured videos.
        bad: Number of videos that could not be read and were skipped.
        views: Views of each video.
        decoding: Seconds of opening and decoding, per video.
        others: Seconds of resizing and cropping, per video.
        views_per_second: Throughput of one core.
        images: Whether the files are images.
    """

    videos: int
    bad: int
    views: int
    decoding: float
    others: float
    views_per_second: float
    images: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self)

    def render(self) -> str:
        """Format the report as text."""
        noun = "image" if self.images else "video"
        lines = [
            f"{self.views} views of each of {counted(self.videos, noun)}, one core",
            f"{self.views_per_second:8.1f} views/s",
            f"{self.decoding * 1e3:8.1f} ms/{noun} for opening and decoding",
            f"{self.others * 1e3:8.1f} ms/{noun} for resizing and cropping",
        ]
        return "\n".join([*lines, f"{counted(self.bad, noun)} could not be read and skipped"] if self.bad else lines)


def measure_views(
    annotations: Annotations, plan: ViewPlan, *, num_videos: int = 8, decoder: str = "pyav"
) -> ViewReport:
    """Make the views of some videos on one thread.

    Args:
        annotations: The videos; the measured ones are evenly spaced in the list.
        plan: The views.
        num_videos: Number of videos.
        decoder: A name from ``decoding.DECODERS``.

    Raises:
        UserError: If none of the videos can be read.
    """
    (report,) = measure_in_turns([TimedViews(annotations, plan, decoder=decoder)], num_videos)
    return report


def measure_in_turns(datasets: Sequence[TimedViews], num_videos: int) -> list[ViewReport]:
    """Make the views of some videos by each of several data sets of the same list, in alternation, on one thread.

    Args:
        datasets: Data sets to time.
        num_videos: Number of videos, evenly spaced in the list.

    Raises:
        UserError: If none of the videos can be read.
    """
    first = datasets[0]
    rows = np.unique(np.linspace(0, len(first) - 1, num_videos).astype(int)).tolist()
    measured = 0
    with one_thread():
        for row in rows:
            # The first read of a file fills the page cache.
            if "reason" in first[row]:
                continue
            for dataset in datasets:
                dataset.measure(row)
            measured += 1
    if not measured:
        raise UserError(f"{first.annotations.source}: none of {counted(len(rows), first.annotations.noun)} can be read")
    return [dataset.report(measured, len(rows) - measured) for dataset in datasets]


class TimedViews(VideoViews):
    """Views with timers for opening and decoding, and for everything."""

    decoding = whole = 0.0
    _running = False

    def measure(self, row: int) -> None:
        """Make the views of a row and add their time."""
        self._running, start = True, process_time()
        _ = self[row]
        self.whole += process_time() - start
        self._running = False

    def open(self, row: int) -> VideoReader:
        """See :meth:`VideoViews.open`."""
        start = process_time()
        reader = super().open(row)
        self._add(start)
        return _TimedReader(reader, self._add)

    def _add(self, start: float) -> None:
        if self._running:
            self.decoding += process_time() - start

    def report(self, videos: int, bad: int) -> ViewReport:
        """Return the report of ``videos`` measured videos; ``bad`` others could not be read."""
        return ViewReport(
            videos=videos,
            bad=bad,
            views=self.plan.num_views,
            decoding=self.decoding / videos,
            others=(self.whole - self.decoding) / videos,
            views_per_second=videos * self.plan.num_views / self.whole,
            images=self.annotations.noun == "image",
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

    def frames(self, wanted: Sequence[int]) -> Iterator[tuple[int, DecodedFrame]]:
        return self._reader.frames(wanted)

    def close(self) -> None:
        self._reader.close()

    def __enter__(self) -> _TimedReader:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()
