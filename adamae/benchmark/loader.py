"""Throughput of the data loader, the time of each part of its work, and advice."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from time import perf_counter

import torch

from adamae.benchmark.loader_parts import measure_parts, some_rows
from adamae.data.dataset import PretrainDataset
from adamae.data.decoding.image_names import is_image
from adamae.data.loader import build_loader
from adamae.plain_text import counted

# Parts of the work -> advice that reduces their time.
_ADVICE = {
    ("opening",): "store the videos on a local disk or in shards, or use several clips per video: --num_sample",
    ("seeking", "decoding"): "re-encode the videos with adamae prepare, so that less is decoded for each clip, "
    "or take several clips of one decode: --num_sample",
    ("resizing",): "re-encode the videos with adamae prepare to a short side near the size of the clips",
    ("augmenting",): "disable --flip, or remove the motion masks",
    ("collating",): "use smaller batches: --batch_size",
}
_IMAGE_ADVICE = {
    ("seeking", "decoding"): "store smaller images, or take several clips of one decode: --num_sample",
    ("resizing",): "store smaller images",
}


@dataclass(frozen=True)
class LoaderReport:
    """Result of :func:`measure_loader`.

    Attributes:
        clips_per_second: Throughput of the loader with its workers.
        clips_per_second_per_core: Throughput of one process alone, by processor time.
        num_workers: Workers of the loader; 0 for none.
        seconds: Processor time per clip, by part of the work.
        clips: Number of measured clips.
        bad: Number of videos that could not be read and were skipped.
        gpu_rate: Required clips per second.
        images: Whether the files are images.
    """

    clips_per_second: float
    clips_per_second_per_core: float
    num_workers: int
    seconds: dict[str, float]
    clips: int
    bad: int
    gpu_rate: float = 1000.0
    images: bool = False

    @property
    def shares(self) -> dict[str, float]:
        """Fraction of the processor time by part of the work; they add up to 1."""
        total = sum(self.seconds.values())
        return {part: seconds / total for part, seconds in self.seconds.items()}

    @property
    def advice(self) -> str:
        """Advice for the parts with the largest fraction of the time, in one sentence."""
        shares = self.shares
        advice = _ADVICE | (_IMAGE_ADVICE if self.images else {})
        parts = max(advice, key=lambda parts: sum(shares[part] for part in parts))
        share = sum(shares[part] for part in parts)
        return f"{' and '.join(parts)} {'take' if len(parts) > 1 else 'takes'} {share:.0%} of the time: {advice[parts]}"

    @property
    def cores(self) -> int:
        """Number of cores needed for ``gpu_rate`` clips per second."""
        return math.ceil(self.gpu_rate / self.clips_per_second_per_core)

    def render(self) -> str:
        """Format as a table with advice and the number of cores that a GPU needs."""
        lines = [
            f"{self.clips_per_second:8.1f} clips/s with {self.num_workers} workers",
            f"{self.clips_per_second_per_core:8.1f} clips/s per core, over {self.clips} clips",
            "",
            "part         ms/clip   share",
            *(f"{part:<12} {self.seconds[part] * 1e3:7.2f}  {share:6.1%}" for part, share in self.shares.items()),
            "",
            self.advice,
            f"{self.gpu_rate:g} clips/s for a GPU take {self.cores} such cores",
        ]
        if self.bad:
            lines.append(f"{counted(self.bad, 'image' if self.images else 'video')} could not be read and skipped")
        return "\n".join(lines)


def measure_loader(
    dataset: PretrainDataset,
    *,
    num_videos: int = 64,
    batch_size: int = 8,
    num_workers: int = 0,
    gpu_rate: float = 1000.0,
) -> LoaderReport:
    """Measure the parts of the work in this process on one thread, then the complete loader.

    Args:
        dataset: Its rows are read in the order of the first epoch, with ``num_sample`` clips of each.
        num_videos: Number of rows.
        batch_size: Videos in a batch.
        num_workers: Workers of the loader.
        gpu_rate: Required clips per second.

    Raises:
        UserError: If none of the videos can be read.
    """
    with one_thread():
        rows = some_rows(dataset, num_videos)
        parts = measure_parts(dataset, rows, batch_size)
        rate = _measure_whole(dataset, num_videos, batch_size, num_workers)
    per_clip = {part: total / parts.clips for part, total in parts.seconds.items()}
    images = all(is_image(dataset.annotations.path(row)) for row in rows.tolist())
    per_core = 1 / sum(per_clip.values())
    return LoaderReport(rate, per_core, num_workers, per_clip, parts.clips, parts.bad, gpu_rate, images)


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit torch to one thread, as in loader workers."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _measure_whole(dataset: PretrainDataset, num_videos: int, batch_size: int, num_workers: int) -> float:
    """Return the clips per second of the loader, from its second batch on."""
    with closing(iter(build_loader(dataset, batch_size=batch_size, num_workers=num_workers))) as batches:
        next(batches)
        # Enough batches that those prefetched before the start of the timer do not dominate.
        measured = max(num_videos // batch_size, 4 * num_workers, 1)
        start = perf_counter()
        clips = sum(len(batch["clip"]) for batch in islice(batches, measured))
        return clips / (perf_counter() - start)
