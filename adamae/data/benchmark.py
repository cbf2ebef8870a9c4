"""How fast clips come, and which part of making them is slow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from time import perf_counter

import numpy as np
import torch

from adamae.data.dataset import ClipDataset, Sample
from adamae.data.decoding import DecodeError
from adamae.data.loader import build_loader, collate
from adamae.errors import UserError
from adamae.randomness import sample_generator

# Part of the work -> what to do if it is the slow one.
_ADVICE = {
    "opening": "put the files on a local disk, or make them smaller",
    "seeking": "re-encode with a key frame at least every 16 frames, so that less is decoded in vain",
    "decoding": "re-encode to a short side of 256 pixels, or use more loader workers",
    "resizing": "re-encode to a short side near the size of the clips",
    "collating": "use smaller batches, or more loader workers",
}


@dataclass(frozen=True)
class LoaderReport:
    """What :func:`measure_loader` found.

    Attributes:
        clips_per_second: Out of the loader, with its workers.
        clips_per_second_per_core: By one process that does nothing else.
        num_workers: Workers of the loader; 0 for none.
        seconds: Of one core for one clip, by part of the work.
        clips: How many were measured.
        bad: How many videos could not be read and were left out.
    """

    clips_per_second: float
    clips_per_second_per_core: float
    num_workers: int
    seconds: dict[str, float]
    clips: int
    bad: int

    @property
    def shares(self) -> dict[str, float]:
        """Share of the time of one core, by part of the work; they add up to 1."""
        total = sum(self.seconds.values())
        return {part: seconds / total for part, seconds in self.seconds.items()}

    @property
    def slowest(self) -> str:
        """The part that takes most of the time."""
        return max(self.seconds, key=self.seconds.__getitem__)

    def render(self) -> str:
        """A table for the terminal, and what to change first."""
        lines = [
            f"{self.clips_per_second:8.1f} clips/s with {self.num_workers} workers",
            f"{self.clips_per_second_per_core:8.1f} clips/s per core, over {self.clips} clips",
            "",
            "part         ms/clip   share",
            *(f"{part:<12} {self.seconds[part] * 1e3:7.2f}  {share:6.1%}" for part, share in self.shares.items()),
            "",
            f"slowest: {self.slowest}; {_ADVICE[self.slowest]}",
        ]
        if self.bad:
            lines.append(f"{self.bad} videos could not be read and were left out")
        return "\n".join(lines)


def measure_loader(
    dataset: ClipDataset, *, num_videos: int = 64, batch_size: int = 8, num_workers: int = 0
) -> LoaderReport:
    """Measure the parts of the work in this process on one thread, then the loader as a whole.

    Opening includes reading the packets. Seeking is the time from there to the first wanted frame; decoding goes
    on to the last one and includes the conversion of colours.

    Args:
        dataset: Its rows are read in the order of the first epoch, ``num_sample`` clips of each.
        num_videos: How many rows.
        batch_size: Videos in a batch.
        num_workers: Workers of the loader.

    Raises:
        UserError: None of the videos can be read.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds, clips, bad = _measure_parts(dataset, num_videos, batch_size)
        rate = _measure_whole(dataset, num_videos, batch_size, num_workers)
    finally:
        torch.set_num_threads(threads)
    per_clip = {part: total / clips for part, total in seconds.items()}
    return LoaderReport(rate, 1 / sum(per_clip.values()), num_workers, per_clip, clips, bad)


class _Stopwatch:
    def __init__(self) -> None:
        self.seconds = dict.fromkeys(_ADVICE, 0.0)

    def add(self, part: str, seconds: float) -> None:
        self.seconds[part] += seconds

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        start = perf_counter()
        yield
        self.add(part, perf_counter() - start)


def _measure_parts(dataset: ClipDataset, num_videos: int, batch_size: int) -> tuple[dict[str, float], int, int]:
    """Seconds by part, clips and unreadable videos."""
    watch = _Stopwatch()
    rows = np.resize(dataset.annotations.order(dataset.seed, 0, len(dataset)), num_videos)
    count = bad = 0
    for start in range(0, num_videos, batch_size):
        samples: list[Sample | UserError] = []
        for row in rows[start : start + batch_size].tolist():
            try:
                clips = _measure_video(dataset, row, watch)
            except DecodeError:
                bad += 1
                continue
            count += len(clips)
            samples.append({"clip": torch.from_numpy(np.stack(clips)), "bad": []})
        if samples:
            with watch("collating"):
                collate(samples)
    if not count:
        raise UserError(f"{dataset.annotations.source}: none of {num_videos} videos can be read")
    return watch.seconds, count, bad


def _measure_video(dataset: ClipDataset, row: int, watch: _Stopwatch) -> list[np.ndarray]:
    rng = sample_generator(dataset.seed, 0, row)
    with watch("opening"):
        reader = dataset.open(row)
    with reader:
        chosen = [dataset.choose_frames(reader.num_frames, rng=rng) for _ in range(dataset.num_sample)]
        indices = np.concatenate(chosen)
        seeking = perf_counter()
        reader.read([indices.min()])
        decoding = perf_counter()
        frames = reader.read(indices)
        done = perf_counter()
    watch.add("seeking", decoding - seeking)
    # The second reading came past the first wanted frame as well.
    watch.add("decoding", max(done - decoding - (decoding - seeking), 0.0))
    with watch("resizing"):
        return [dataset.transform(part, None, rng)[0] for part in np.split(frames, dataset.num_sample)]


def _measure_whole(dataset: ClipDataset, num_videos: int, batch_size: int, num_workers: int) -> float:
    """Clips per second out of the loader, from its first batch on."""
    batches = iter(build_loader(dataset, batch_size=batch_size, num_workers=num_workers))
    next(batches)
    # What workers made ahead of the clock must not outweigh what they make while it runs.
    measured = max(num_videos // batch_size, 4 * num_workers, 1)
    start = perf_counter()
    clips = sum(len(batch["clip"]) for batch in islice(batches, measured))
    return clips / (perf_counter() - start)
