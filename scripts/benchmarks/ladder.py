"""Time of making clips, from the reference implementation's method to ours, one change at a time, on the same videos.

    .venv/bin/python scripts/benchmarks/ladder.py train.csv --num_videos 16

Frames and crops are the same in all rows. Options are those of `adamae bench loader`; decord is needed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter, process_time
from typing import Any
from unittest.mock import patch

import numpy as np
from reference_clips import PlainVideo, crop_with_pillow, standardise
from torch.utils.data import default_collate

from adamae.benchmark.loader import one_thread
from adamae.benchmark.loader_parts import some_rows
from adamae.data.cutting import read_crops
from adamae.data.dataset import PretrainDataset
from adamae.data.decoding import DecodeError, VideoSource, get_decoder, pyav
from adamae.errors import UserError
from adamae.options.bench import BenchLoaderOptions
from adamae.options.parser import OptionParser
from adamae.randomness import sample_generator

# Clips of each decode in the last row, unless the options ask for more.
_CLIPS_OF_A_DECODE = 4
# (dataset, row, clips of the video) -> the clips, each uint8 as in the dataset's batches, or float32
MakeClips = Callable[[PretrainDataset, int, int], list[Any]]


@dataclass(frozen=True)
class Rung:
    """One method of making clips.

    Attributes:
        name: Difference from the row above.
        cpu: Seconds of processor time for one clip.
        wall: Seconds of wall time for one clip.
    """

    name: str
    cpu: float
    wall: float


@dataclass(frozen=True)
class Ladder:
    """Result of :func:`compare_with_reference`.

    Attributes:
        rungs: Methods from the reference implementation's to ours; the last one takes several clips of each decode.
        videos: Number of measured videos.
        bad: Number of videos left out because they could not be read by one of the methods.
    """

    rungs: list[Rung]
    videos: int
    bad: int

    @property
    def ratio(self) -> float:
        """Our throughput relative to the reference implementation, by processor time, with one clip for each video."""
        return self.rungs[0].cpu / self.rungs[-2].cpu

    @property
    def saved_by_tables(self) -> float:
        """Fraction of a clip's processor time that MP4 files' own tables save, with one clip for each video."""
        return 1 - self.rungs[-2].cpu / self.rungs[-3].cpu

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self) | {"ratio": self.ratio, "saved_by_tables": self.saved_by_tables}

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """Return table cells: name, milliseconds of processor and wall time, gain over the row above, total gain."""
        first, above = self.rungs[0], [self.rungs[0], *self.rungs]
        return [
            (
                rung.name,
                f"{rung.cpu * 1e3:.1f}",
                f"{rung.wall * 1e3:.1f}",
                f"{before.cpu / rung.cpu:.2f}",
                f"{first.cpu / rung.cpu:.2f}",
            )
            for before, rung in zip(above, self.rungs, strict=False)
        ]

    def render(self) -> str:
        """Format a table for the terminal."""
        rows = [("way", "cpu ms/clip", "wall ms/clip", "step", "in all"), *self.rows()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if not place else cell.rjust(width) for place, (cell, width) in enumerate(cells)
            )
            for cells in ([*zip(row, widths, strict=True)] for row in rows)
        ]
        told = (
            f"{self.ratio:.2f} times the reference implementation, one clip for each of {self.videos} videos, one core"
        )
        tables = f"MP4 files' own tables save {100 * self.saved_by_tables:.1f} % of a clip's processor time"
        left_out = [f"{self.bad} videos could not be read in one of the ways and were left out"] if self.bad else []
        return "\n".join([*lines, "", told, tables, *left_out])


def compare_with_reference(dataset: PretrainDataset, *, num_videos: int = 32, rounds: int = 2) -> Ladder:
    """Make the clips of some videos by every method, in alternation, in this process on one thread.

    Our methods decode with PyAV, whatever the dataset's decoder. Every method ends with the clips copied into a batch.

    Args:
        dataset: Dataset of the clips, with a transform that crops.
        num_videos: Number of videos.
        rounds: Number of times that each method makes the clips of each video.

    Raises:
        UserError: If decord is not installed, or none of the videos can be read.
    """
    clips = max(dataset.num_sample, _CLIPS_OF_A_DECODE)
    ways: list[tuple[str, MakeClips, int]] = [*((name, make, 1) for name, make in _ways()), _several(clips)]
    cpu, wall = np.zeros(len(ways)), np.zeros(len(ways))
    rows = some_rows(dataset, min(num_videos, len(dataset))).tolist()
    readable = [row for row in rows if _can_be_read(dataset, row, ways)]
    if not readable:
        raise UserError(f"{dataset.annotations.source}: none of {len(rows)} videos can be read")
    with one_thread():
        for _ in range(rounds):
            for row in readable:
                for number, (_, make, count) in enumerate(ways):
                    start = perf_counter(), process_time()
                    made = make(dataset, row, count)
                    default_collate(made)
                    cpu[number] += (process_time() - start[1]) / count
                    wall[number] += (perf_counter() - start[0]) / count
    total = rounds * len(readable)
    rungs = [Rung(name, float(cpu[n]) / total, float(wall[n]) / total) for n, (name, _, _) in enumerate(ways)]
    return Ladder(rungs, len(readable), len(rows) - len(readable))


def _ways() -> list[tuple[str, MakeClips]]:
    decord = get_decoder("decord")
    return [
        ("reference implementation: decord, whole frames, Pillow, float32", _whole_frames(decord)),
        ("PyAV, from the keyframe to the last wanted frame", _whole_frames(PlainVideo)),
        ("frames that no wanted frame refers to are not decoded", _whole_frames(open_by_ffmpeg)),
        ("only the crop is kept, and resized by torch", _crops(open_by_ffmpeg, as_floats=True)),
        ("bytes leave the worker, floats are made on the device", _crops(open_by_ffmpeg)),
        ("packets of plain MP4 files are found by the files' own tables", _crops(pyav.open_video)),
    ]


def open_by_ffmpeg(source: VideoSource) -> pyav.PyAVReader:
    """Open our reader with packets read by FFmpeg, even if the file's own tables locate them."""
    with patch.object(pyav, "plain_packets", lambda source: None):
        return pyav.open_video(source)


def _several(clips: int) -> tuple[str, MakeClips, int]:
    return f"--num_sample {clips}: so many clips of each decode", _crops(pyav.open_video), clips


def _whole_frames(open_video: Callable[[VideoSource], Any]) -> MakeClips:
    def make(dataset: PretrainDataset, row: int, count: int) -> list[Any]:
        rng = sample_generator(dataset.seed, 0, row)
        with open_video(dataset.annotations.video(row)) as reader:
            frames = reader.read(dataset.choose_frames(reader.num_frames, rng=rng))
        _, height, width, _ = frames.shape
        return [standardise(crop_with_pillow(frames, dataset.transform.plan(height, width, rng)))]

    return make


def _crops(open_video: Callable[[VideoSource], pyav.PyAVReader], *, as_floats: bool = False) -> MakeClips:
    def make(dataset: PretrainDataset, row: int, count: int) -> list[Any]:
        rng = sample_generator(dataset.seed, 0, row)
        with open_video(dataset.annotations.video(row)) as reader:
            chosen = [dataset.choose_frames(reader.num_frames, rng=rng) for _ in range(count)]
            plans, boxes, _ = read_crops(reader, chosen, dataset.transform, rng)
        clips = [plan.finish(box) for plan, box in zip(plans, boxes, strict=True)]
        return [standardise(clip) for clip in clips] if as_floats else clips

    return make


def _can_be_read(dataset: PretrainDataset, row: int, ways: list[tuple[str, MakeClips, int]]) -> bool:
    """Return whether all methods can read a video; the first read of a file also fills the page cache."""
    try:
        for _, make, count in ways:
            make(dataset, row, count)
    except DecodeError:
        return False
    return True


def parser() -> OptionParser[BenchLoaderOptions]:
    """Build the parser with the options of `adamae bench loader`."""
    return OptionParser(
        BenchLoaderOptions,
        prog="scripts/benchmarks/ladder.py",
        description="Time making clips from the reference implementation's way to ours, one change at a time.",
    )


def main(words: Sequence[str]) -> int:
    """Measure and print the result."""
    # The list may be the first argument, without its option's name.
    named = ["--data_path", *words] if words and not words[0].startswith("-") else words
    options = parser().parse(named).options
    from adamae.pretrain import open_clips

    dataset = open_clips(options.data, options.clip)
    ladder = compare_with_reference(dataset, num_videos=options.measurement.num_videos)
    print(json.dumps(ladder.as_dict(), indent=2) if options.measurement.json else ladder.render())
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except UserError as error:
        print(f"ladder.py: error: {error}", file=sys.stderr)
        sys.exit(2)
