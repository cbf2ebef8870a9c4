"""Processor time of each part of making clips, on one core."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from time import process_time

import numpy as np
import torch

from adamae.data.augmentation import CropPlan, Transform, mirror
from adamae.data.cutting import read_crops
from adamae.data.dataset import PretrainDataset, Sample
from adamae.data.decoding import DecodeError, VideoReader
from adamae.data.loader import collate
from adamae.errors import UserError
from adamae.plain_text import counted
from adamae.randomness import epoch_permutation, sample_generator

PARTS = ("opening", "seeking", "decoding", "resizing", "augmenting", "collating")


@dataclass
class Parts:
    """Processor time by part, over all clips.

    Attributes:
        seconds: Seconds by the names in ``PARTS``.
        clips: Number of clips.
        bad: Number of videos that could not be read and were skipped.
    """

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))
    clips: int = 0
    bad: int = 0

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Count the processor time of what runs inside."""
        start = process_time()
        yield
        self.seconds[part] += process_time() - start


def measure_parts(dataset: PretrainDataset, rows: np.ndarray, batch_size: int) -> Parts:
    """Make the clips of some rows in this process and time each part.

    Opening includes reading the packets. Seeking ends at the first required frame; decoding continues to the last one.
    Resizing includes colour conversion and copying the crop. Augmenting includes all random choices, flipping, and the
    processing of motion masks.

    Args:
        dataset: Makes ``num_sample`` clips of each row, with a transform that crops.
        rows: (n,) rows, which may repeat.
        batch_size: Videos that are collated together.

    Raises:
        UserError: If none of the videos can be read.
    """
    parts = Parts()
    for start in range(0, len(rows), batch_size):
        samples: list[Sample | UserError] = []
        for row in rows[start : start + batch_size].tolist():
            try:
                clips = _make(dataset, row, parts)
            except DecodeError:
                parts.bad += 1
                continue
            parts.clips += len(clips)
            samples.append({"clip": torch.from_numpy(np.stack(clips)), "bad": []})
        if samples:
            with parts.timed("collating"):
                collate(samples)
    if not parts.clips:
        raise UserError(
            f"{dataset.annotations.source}: none of {counted(len(rows), dataset.annotations.noun)} can be read"
        )
    return parts


def _make(dataset: PretrainDataset, row: int, parts: Parts) -> list[np.ndarray]:
    rng = sample_generator(dataset.seed, 0, row)
    # The first access to a file fills the page cache.
    dataset.open(row).close()
    with parts.timed("opening"):
        reader = dataset.open(row)
    with reader:
        with parts.timed("augmenting"):
            chosen = [dataset.choose_frames(reader.num_frames, rng=rng) for _ in range(dataset.num_sample)]
        seeking = _seconds_to_read(reader, [np.concatenate(chosen).min(keepdims=True)])
        decoding = _seconds_to_read(reader, chosen)
        start = process_time()
        plans, boxes, _ = read_crops(reader, chosen, _TimedTransform(dataset.transform, parts), rng)
        reading = process_time() - start
    parts.seconds["seeking"] += seeking
    parts.seconds["decoding"] += max(decoding - seeking, 0.0)
    parts.seconds["resizing"] += max(reading - decoding, 0.0)
    return [_finish(plan, box, parts) for plan, box in zip(plans, boxes, strict=True)]


@dataclass(frozen=True)
class _TimedTransform:
    transform: Transform
    parts: Parts

    def plan(self, height: int, width: int, rng: np.random.Generator) -> CropPlan:
        with self.parts.timed("augmenting"):
            return self.transform.plan(height, width, rng)


def _seconds_to_read(reader: VideoReader, clips: list[np.ndarray]) -> float:
    """Time the decoding alone, without converting frames to pixels."""
    wanted = np.unique(np.concatenate(clips)).tolist()
    start = process_time()
    for _ in reader.frames(wanted):
        pass
    return process_time() - start


def _finish(plan: CropPlan, box: np.ndarray, parts: Parts) -> np.ndarray:
    with parts.timed("resizing"):
        clip = replace(plan, mirrored=False).finish(box)
    with parts.timed("augmenting"):
        return mirror(clip) if plan.mirrored else clip


def some_rows(dataset: PretrainDataset, count: int) -> np.ndarray:
    """Return rows (count,) in the order of the first epoch, repeated if there are fewer."""
    return np.resize(epoch_permutation(dataset.seed, 0, len(dataset)), count)
