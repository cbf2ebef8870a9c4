"""What a clip costs to decode, and what a video costs to store, by how it was encoded.

    .venv/bin/python scripts/benchmarks/encoding.py

Two synthetic videos of ten seconds stand for real ones: detail of all sizes (1/f noise), a camera that pans, an object
that crosses, and the noise of a sensor. They are encoded as ``adamae prepare`` does, by the number of frames between
key frames, with and without B frames, at two sizes, and the choice among qualities and presets. Of each file some clips
are read as training does: 16 frames, 4 apart (dense), or one from each of 16 equal parts (segments), opening included.
Encodings take turns, and medians of processor time are reported.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

import av
import numpy as np

from adamae.data.decoding import get_decoder
from adamae.data.h264_encoder import CODEC, encoder_options
from adamae.data.preparation.transcoding import Encoding, transcode

FRAMES, RATE = 300, 30
SIZE = (360, 640)
ROUNDS = 3
CHOSEN = Encoding()


@dataclass
class Measured:
    """Measurements of one encoding over all videos.

    Attributes:
        files: Encoded files, one for each video.
        encode: Processor seconds for encoding one second of video.
        error: Mean squared differences from the source at the same size.
        dense: Processor milliseconds for reading each dense clip.
        segments: Processor milliseconds for reading each clip of segments.
    """

    files: list[Path] = field(default_factory=list)
    encode: list[float] = field(default_factory=list)
    error: list[float] = field(default_factory=list)
    dense: list[float] = field(default_factory=list)
    segments: list[float] = field(default_factory=list)

    def cells(self) -> str:
        """Format the measured columns of a table."""
        size = sum(path.stat().st_size for path in self.files) / len(self.files) / 1e3
        quality = f" | {10 * np.log10(255**2 / np.mean(self.error)):.1f}" if self.error else ""
        return (
            f"{median(self.dense):.1f} | {median(self.segments):.1f} | {size:.0f} | {median(self.encode):.3f}{quality}"
        )


def soft_noise(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Return (height, width, 3) detail of all sizes; amplitude falls with frequency, as in natural images."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(width), np.fft.fftfreq(height)))
    white = np.fft.fft2(rng.standard_normal((height, width, 3)), axes=(0, 1))
    shaped = np.fft.ifft2(white / np.maximum(frequency, 1 / width)[..., None], axes=(0, 1)).real
    return np.clip(128 + 45 * shaped / shaped.std(), 0, 255)


def write_source(path: Path, seed: int) -> None:
    """Write a video of FRAMES frames of SIZE with little loss."""
    rng = np.random.default_rng(seed)
    height, width = SIZE
    background = soft_noise(rng, height + 100, width + 200)
    thing = soft_noise(rng, height // 3, width // 4)
    grain = rng.normal(0, 4, (8, *SIZE, 1))
    with av.open(str(path), "w") as container:
        stream = container.add_stream(CODEC, rate=RATE, options=encoder_options(12, "ultrafast"))
        stream.height, stream.width = SIZE
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1
        for number in range(FRAMES):
            down, right = int(50 + 40 * np.sin(number / 40)), int(100 + 90 * np.sin(number / (60 + 20 * seed)))
            frame = background[down : down + height, right : right + width] + grain[number % 8]
            top, left = (
                int(100 + 80 * np.sin(number / 15)),
                int((width - width // 4) * (0.5 + 0.5 * np.sin(number / 25))),
            )
            frame[top : top + thing.shape[0], left : left + thing.shape[1]] = thing
            shown = av.VideoFrame.from_ndarray(np.clip(frame, 0, 255).astype(np.uint8), format="rgb24")
            container.mux(stream.encode(shown))
        container.mux(stream.encode(None))


def encode_all(sources: Iterable[Path], ways: dict[str, Encoding], folder: Path, quality: bool) -> dict[str, Measured]:
    """Encode every source with every encoding."""
    measured = {name: Measured() for name in ways}
    for source, (name, way) in itertools.product(sources, ways.items()):
        target = folder / f"{source.stem}-{name}.mp4"
        start = time.process_time()
        made = transcode(str(source), str(target), str(folder / "unfinished.mp4"), way)
        measured[name].encode.append((time.process_time() - start) / made.seconds)
        measured[name].files.append(target)
        if quality:
            measured[name].error.append(error_of(source, target))
    return measured


def error_of(source: Path, target: Path) -> float:
    """Return the mean squared difference of some frames from the source, scaled to the target's size."""
    numbers = set(range(5, FRAMES, 60))
    with av.open(str(source)) as before, av.open(str(target)) as after:
        pairs = zip(before.decode(video=0), after.decode(video=0), strict=True)
        chosen = (pair for number, pair in enumerate(pairs) if number in numbers)
        return float(np.mean([squared(first, second) for first, second in chosen]))


def squared(first: av.VideoFrame, second: av.VideoFrame) -> float:
    """Return the mean squared difference in brightness."""
    scaled = first.reformat(second.width, second.height, "gray", interpolation="BICUBIC").to_ndarray().astype(float)
    return float(((scaled - second.reformat(format="gray").to_ndarray()) ** 2).mean())


def clips(rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the frame indices of a dense clip and of a clip of segments over the complete video."""
    start = int(rng.integers(0, FRAMES - 61))
    yield "dense", np.arange(start, start + 61, 4)
    length = FRAMES // 16
    yield "segments", np.arange(16) * length + rng.integers(0, length, 16)


def read_all(measured: dict[str, Measured]) -> None:
    """Time the reading of clips, with all encodings in alternation on the same clips."""
    open_video = get_decoder("pyav")
    for number in range(ROUNDS):
        for kind, frames in clips(np.random.default_rng(number)):
            for found in measured.values():
                for path in found.files:
                    start = time.process_time()
                    with open_video(str(path)) as video:
                        video.read(frames)
                    getattr(found, kind).append(1e3 * (time.process_time() - start))


def tell_groups(sources: list[Path], folder: Path) -> None:
    """Print the table of sizes, keyframe intervals and B frames."""
    grid = {
        f"{side} | {gop} | {bframes}": replace(CHOSEN, short_side=side, gop=gop, bframes=bframes)
        for side in (224, 256)
        for gop in (1, 8, 16, 32, 250)
        for bframes in (0, 3)
        if gop > 1 or not bframes
    }
    measured = encode_all(sources, grid, folder, quality=False)
    read_all(measured)
    print("| short side | key frame every | B frames | ms, dense clip | ms, segments | kB | s to encode a second |")
    print("|---|---|---|---|---|---|---|")
    for name, found in measured.items():
        print(f"| {name} | {found.cells()} |")


def tell_presets(sources: list[Path], folder: Path) -> None:
    """Print the table of qualities and presets, with the other options as in the default encoding."""
    ways = {"as chosen": CHOSEN, "CABAC, deblocking": replace(CHOSEN, tune="")}
    ways |= {f"crf {crf}": replace(CHOSEN, crf=crf) for crf in (16, 24)}
    ways |= {preset: replace(CHOSEN, preset=preset) for preset in ("superfast", "medium")}
    measured = encode_all(sources, ways, folder, quality=True)
    read_all(measured)
    chosen = f"{CHOSEN.short_side}, {CHOSEN.gop}, {CHOSEN.bframes}, crf {CHOSEN.crf}, {CHOSEN.preset}, {CHOSEN.tune}"
    print(f"| {chosen}; but | ms, dense clip | ms, segments | kB | s to encode a second | PSNR, dB |")
    print("|---|---|---|---|---|---|")
    for name, found in measured.items():
        print(f"| {name} | {found.cells()} |")


def main() -> int:
    """Print the tables."""
    tables = {"groups": tell_groups, "presets": tell_presets}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", help=f"{' or '.join(tables)}; none: both")
    given = parser.parse_args().tables or list(tables)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        sources = [folder / f"{seed}.mp4" for seed in range(2)]
        for seed, path in enumerate(sources):
            write_source(path, seed)
        for name in given:
            tables[name](sources, folder)
            print()
    used = time.process_time()
    print(f"{used:.0f} seconds of processor time; {FRAMES / RATE:g} seconds of {SIZE[1]} x {SIZE[0]} for each video")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
