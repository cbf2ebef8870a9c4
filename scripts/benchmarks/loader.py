"""What a clip costs on its way from a file to a batch, part by part, beside the reference implementation's way.

    .venv/bin/python scripts/benchmarks/loader.py

Synthetic videos stand for real ones: detail of several sizes, a camera that pans, objects that cross, and a sensor's
noise, in the sizes, lengths, rates and encodings of Kinetics and Something-Something as they are downloaded, with about
their bytes. The same videos as `adamae prepare` encodes them follow. Both ways take turns on the same
frames and crops.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from statistics import median

import av
import numpy as np
import torch
from av.video.reformatter import VideoReformatter
from ladder import Ladder, compare_with_reference
from machine import machine
from torch.nn import functional as F

from adamae.benchmark.loader import LoaderReport, measure_loader
from adamae.benchmark.loader_parts import PARTS
from adamae.data.annotations import load_annotations
from adamae.data.augmentation import Box, crop, resize
from adamae.data.dataset import PretrainDataset, pretrain_dataset
from adamae.data.h264_encoder import encoder_options
from adamae.data.preparation.transcoding import Encoding, transcode

SIZE = 224


@dataclass(frozen=True)
class Kind:
    """A kind of videos.

    Attributes:
        name: Name in the tables.
        height: Height in pixels.
        width: Width in pixels.
        frames: Number of frames of each video.
        rate: Frames per second.
        stride: Stride of a clip's frames, as published for the data set.
        file: Suffix of the files.
        codec: FFmpeg's name of the encoder.
        options: Options of the encoder.
    """

    name: str
    height: int
    width: int
    frames: int
    rate: int
    stride: int
    file: str
    codec: str
    options: dict[str, str] = field(default_factory=dict)


H264 = encoder_options(23, "medium")
VP9 = {"crf": "33", "b": "0", "g": "128", "cpu-used": "4", "deadline": "good", "lag-in-frames": "16"}
KINDS = (
    Kind("Kinetics, 340x256, H.264", 256, 340, 300, 30, 4, "mp4", "libx264", H264),
    Kind("Something-Something, 426x240, VP9", 240, 426, 48, 12, 2, "webm", "libvpx-vp9", VP9),
    Kind("Something-Something, 426x240, H.264", 240, 426, 48, 12, 2, "mp4", "libx264", H264),
)
PREPARED = (0, 1)  # kinds whose prepared form is measured, too
PREPARED_MARK = ", prepared"


def texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Return (height, width, 3) float32 detail of four sizes."""
    total = np.full((height, width, 3), 120, np.float32)
    for cells, strength in ((4, 50), (12, 35), (40, 22), (120, 12)):
        coarse = rng.standard_normal((1, 3, cells, cells * width // height), np.float32)
        smooth = F.interpolate(torch.from_numpy(coarse), (height, width), mode="bicubic")[0]
        total += strength * smooth.permute(1, 2, 0).numpy()
    return np.clip(total, 0, 255)


def footage(kind: Kind, seed: int) -> Iterator[np.ndarray]:
    """Yield frames (height, width, 3) uint8. Speeds per second do not depend on the frame rate."""
    rng = np.random.default_rng(seed)
    height, width, pace = kind.height, kind.width, 30 / kind.rate
    ground = texture(rng, 2 * height, 2 * width)
    pan = rng.uniform(-0.6, 0.6, 2) * pace
    things = []
    for _ in range(4):
        side = int(rng.integers(height // 6, height * 2 // 5))
        rows, columns = np.mgrid[:side, :side] / side * 2 - 1
        soft = np.clip((1 - rows**2 - columns**2) * 6, 0, 1)[..., None].astype(np.float32)
        things.append((texture(rng, side, side), soft, rng.uniform(0, 6.28, 2), rng.uniform(0.01, 0.05, 2) * pace))
    for number in range(kind.frames):
        top, left = (int(size / 2 + speed * number) % size for size, speed in zip((height, width), pan, strict=True))
        frame = ground[top : top + height, left : left + width].copy()
        for pixels, soft, phase, speed in things:
            free = np.array((height, width)) - len(pixels)
            y, x = (free * (0.5 + 0.5 * np.sin(phase + speed * number))).astype(int)
            part = frame[y : y + len(pixels), x : x + len(pixels)]
            part += soft * (pixels - part)
        frame += 2.5 * rng.standard_normal((height, width, 1), np.float32)
        yield np.clip(frame, 0, 255).astype(np.uint8)


def write(kind: Kind, folder: Path, count: int) -> Path:
    """Write ``count`` videos into a new folder."""
    folder.mkdir()
    for seed in range(count):
        with av.open(str(folder / f"{seed:03}.{kind.file}"), "w") as container:
            stream = container.add_stream(kind.codec, rate=kind.rate, options=kind.options)
            stream.height, stream.width, stream.pix_fmt = kind.height, kind.width, "yuv420p"
            stream.codec_context.thread_count = 1
            for frame in footage(kind, seed):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode(None))
    return folder


def prepare(source: Path, folder: Path) -> Path:
    """Encode the videos of a folder as ``adamae prepare`` does."""
    for path in sorted(source.iterdir()):
        transcode(str(path), str(folder / f"{path.stem}.mp4"), str(folder / f"{path.stem}.part"), Encoding())
    return folder


def clips_of(folder: Path, kind: Kind) -> PretrainDataset:
    """Return the dataset of pre-training clips as published for the data set."""
    return pretrain_dataset(load_annotations(folder), num_frames=16, sampling_rate=kind.stride, size=SIZE)


def kilobytes(folder: Path) -> float:
    """Return the mean size of a folder's videos in kB."""
    sizes = [path.stat().st_size for path in folder.iterdir()]
    return sum(sizes) / len(sizes) / 1e3


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Format a Markdown table, with the first column aligned to the left."""
    cells = list(header)
    lines = [cells, ["---", *["---:"] * (len(cells) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def shares(reports: dict[str, tuple[float, LoaderReport]]) -> str:
    """Format the table of time by part of the pipeline."""
    header = (
        "videos",
        "kB",
        "ms/clip",
        "clips/s of a core",
        *(f"{part} %" for part in PARTS),
        "cores for 1000 clips/s",
    )
    return table(
        header,
        (
            (
                name,
                f"{size:.0f}",
                f"{1e3 / report.clips_per_second_per_core:.1f}",
                f"{report.clips_per_second_per_core:.0f}",
                *(f"{100 * share:.0f}" for share in report.shares.values()),
                f"{report.cores}",
            )
            for name, (size, report) in reports.items()
        ),
    )


def steps(ladder: Ladder) -> str:
    """Format the table of the gain of each step."""
    return table(("way", "cpu ms/clip", "wall ms/clip", "gain of the step", "in all"), ladder.rows())


def conversions(path: Path, box: Box) -> Iterator[tuple[str, float, float]]:
    """Yield methods to convert decoded frames to a clip: name, milliseconds of processor time, mean difference."""
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        frames = list(islice(container.decode(video=0), 16))
    ways: dict[str, Callable[[], np.ndarray]] = {
        "whole frame to RGB by a converter for each frame, whole frames kept (before)": lambda: resize(
            crop(np.stack([frame.to_ndarray(format="rgb24") for frame in frames]), box), SIZE, SIZE
        ),
        "whole frame to RGB in one thread, crop copied, resized by torch (ours)": lambda: by_torch(frames, box, False),
        "crop cut from the planes, then to RGB, resized by torch": lambda: by_torch(frames, box, True),
        "crop cut from the planes, resized by swscale, bilinear": lambda: by_swscale(frames, box, "BILINEAR"),
        "crop cut from the planes, resized by swscale, area": lambda: by_swscale(frames, box, "AREA"),
    }
    expected = ways["whole frame to RGB in one thread, crop copied, resized by torch (ours)"]().astype(int)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(7):
        for name, way in ways.items():
            start = time.process_time()
            way()
            seconds[name].append(time.process_time() - start)
    for name, way in ways.items():
        yield name, 1e3 * median(seconds[name]), float(np.abs(way() - expected).mean())


def rgb(
    converter: VideoReformatter, frame: av.VideoFrame, size: int | None = None, how: str = "BILINEAR"
) -> np.ndarray:
    """Convert a frame to RGB (H, W, 3), valid until the converter is used again."""
    converted = converter.reformat(frame, size, size, "rgb24", interpolation=how, threads=1)
    lines = np.frombuffer(memoryview(converted.planes[0]), np.uint8).reshape(converted.height, -1)
    return lines[:, : 3 * converted.width].reshape(converted.height, converted.width, 3)


def cut(frame: av.VideoFrame, box: Box) -> av.VideoFrame:
    """Crop a YUV 4:2:0 frame to a box with even coordinates."""
    part = av.VideoFrame(box.width, box.height, "yuv420p")
    part.colorspace, part.color_range = frame.colorspace, frame.color_range
    for half, (source, target) in enumerate(zip(frame.planes, part.planes, strict=True)):
        shift = min(half, 1)
        rows, columns = box.height >> shift, box.width >> shift
        lines = np.frombuffer(memoryview(source), np.uint8).reshape(-1, source.line_size)
        copy = np.frombuffer(memoryview(target), np.uint8).reshape(-1, target.line_size)
        copy[:rows, :columns] = lines[box.top >> shift :, box.left >> shift :][:rows, :columns]
    return part


def by_torch(frames: list[av.VideoFrame], box: Box, cut_first: bool) -> np.ndarray:
    """Convert colours by swscale and resize by torch."""
    converter = VideoReformatter()
    parts = np.empty((len(frames), box.height, box.width, 3), np.uint8)
    for part, frame in zip(parts, frames, strict=True):
        part[:] = rgb(converter, cut(frame, box)) if cut_first else crop(rgb(converter, frame)[None], box)[0]
    return resize(parts, SIZE, SIZE)


def by_swscale(frames: list[av.VideoFrame], box: Box, how: str) -> np.ndarray:
    """Convert colours and resize by swscale."""
    converter = VideoReformatter()
    return np.stack([rgb(converter, cut(frame, box), SIZE, how).copy() for frame in frames])


def main() -> None:
    """Measure and print the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=8, help="videos of each kind (default: 8)")
    parser.add_argument("--rounds", type=int, default=2, help="clips of each video and way (default: 2)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    reports: dict[str, tuple[float, LoaderReport]] = {}
    ladders: dict[str, Ladder] = {}
    with tempfile.TemporaryDirectory() as place:
        folders = [write(kind, Path(place) / str(number), options.videos) for number, kind in enumerate(KINDS)]
        sources = [*zip(KINDS, folders, ("",) * len(KINDS), strict=True)]
        for number in PREPARED:
            prepared = prepare(folders[number], Path(place) / f"prepared{number}")
            sources.append((KINDS[number], prepared, PREPARED_MARK))
        for kind, folder, how in sources:
            dataset, name = clips_of(folder, kind), kind.name.partition(", ")[0] + how if how else kind.name
            reports[name] = kilobytes(folder), measure_loader(dataset, num_videos=options.videos * options.rounds)
            ladders[name] = compare_with_reference(dataset, num_videos=options.videos, rounds=options.rounds)
        large = Kind("", 1080, 1920, 16, 30, 1, "mp4", "libx264", encoder_options(23, "ultrafast"))
        converted = {
            "340x256": list(conversions(folders[0] / "000.mp4", Box(22, 42, 192, 224))),
            "1920x1080": list(conversions(write(large, Path(place) / "large", 1) / "000.mp4", Box(50, 80, 944, 822))),
        }
    print_report(options, reports, ladders, converted)


def print_report(
    options: argparse.Namespace,
    reports: dict[str, tuple[float, LoaderReport]],
    ladders: dict[str, Ladder],
    converted: dict[str, list[tuple[str, float, float]]],
) -> None:
    """Print the document."""
    print(
        "# What a clip costs on its way from a file to a batch\n\n"
        f"Printed by `bash scripts/benchmarks/loader.sh --videos {options.videos} --rounds {options.rounds}`: so many "
        f"synthetic videos of each kind, and clips of each. {DATE}, {machine()}. "
        f"Clips of 16 frames at {SIZE} x {SIZE}, 4 apart in Kinetics, 2 in Something-Something. Milliseconds are of "
        "one core's processor time, one thread; wall time grows with what else the machine does.\n\n"
        "## Where the time goes\n\n" + shares(reports) + "\n"
    )
    print(
        "## From the reference implementation's way to ours\n\n"
        "The ways take turns on the same videos, frames and crops. The last line takes four clips of each decode; all "
        "others one. A gain below 1 is a loss.\n"
    )
    for name, ladder in ladders.items():
        print(f"### {name}: {ladder.ratio:.1f} times the reference implementation's throughput\n\n{steps(ladder)}\n")
        if name.endswith(PREPARED_MARK):
            saved = 100 * ladder.saved_by_tables
            print(f"The files' own tables save {saved:.1f} % of a prepared clip's processor time.\n")
    print(
        "## From decoded frames to the clip's pixels\n\n"
        "Milliseconds for 16 frames, and the mean difference from ours in grey levels of 255.\n"
    )
    for name, rows in converted.items():
        print(table((name, "ms/clip", "difference"), ((way, f"{ms:.1f}", f"{d:.2f}") for way, ms, d in rows)) + "\n")


DATE = time.strftime("%Y-%m-%d")

if __name__ == "__main__":
    main()
