"""Real videos with every awkwardness that matters; skipped where they are absent."""

import csv
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import pytest

from adamae.data.decoding import DecodeError, byte_ranges, get_decoder
from adamae.errors import UserError

# What the other back ends cannot read, as DATASET.md says.
REFUSED = {"decord": {"corrupted.mp4", "no_duration.webm"}, "torchcodec": {"corrupted.mp4"}}


def table(clips: Path) -> list[dict[str, str]]:
    with (clips / "clips.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def in_sequence(path: Path, wanted: set[int]) -> tuple[int, dict[int, np.ndarray]]:
    """The number of frames, and some of them, by the plainest use of the library."""
    count, frames = 0, {}
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for packet in container.demux(stream):
            try:
                decoded = stream.codec_context.decode(packet if packet.size else None)
            except av.FFmpegError:
                continue
            for frame in decoded:
                if count in wanted:
                    frames[count] = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
                count += 1
    return count, frames


def presented(path: Path) -> list[float]:
    """When frames are shown, in seconds from the first one, by the plainest use of the library."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        ticks = []
        for packet in container.demux(stream):
            with suppress(av.FFmpegError):
                ticks += [frame.pts for frame in stream.codec_context.decode(packet if packet.size else None)]
        # AVI tells when pictures are decoded, in which order they are not shown.
        return [float((tick - min(ticks)) * stream.time_base) for tick in sorted(ticks)]


@pytest.mark.slow
def test_times_are_those_of_the_file(clips: Path) -> None:
    """To the unit of the file, milliseconds at the coarsest; three have uneven times."""
    uneven = set()
    for row in table(clips):
        expected = np.array(presented(clips / row["file"]))
        with get_decoder("pyav")(str(clips / row["file"])) as video:
            assert video.times is not None
            assert np.abs(video.times[:-1] - expected).max() < 1e-3, row["file"]
            if not np.array_equal(video.times, np.arange(len(video.times)) / video.fps):
                uneven.add(row["file"])
    assert uneven == {"asl_brother.mkv", "corrupted.mp4", "no_duration.webm"}


@pytest.mark.slow
@pytest.mark.parametrize("kept", [True, False], ids=["kept", "too large to keep"])
def test_counts_sizes_and_random_access(
    clips: Path, kept: bool, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not kept:
        monkeypatch.setattr(byte_ranges, "KEPT_BYTES", 0)
    for row in table(clips):
        count, turned = int(row["frames"]), int(row["rotation"]) % 180 != 0
        size = (int(row["width"]), int(row["height"])) if turned else (int(row["height"]), int(row["width"]))
        wanted = rng.integers(0, count, 4)
        decoded, expected = in_sequence(clips / row["file"], set(wanted.tolist()))
        with get_decoder("pyav")(str(clips / row["file"])) as video:
            assert video.num_frames == decoded == count, row["file"]
            numerator, denominator = map(int, row["fps"].split("/"))
            assert video.fps == pytest.approx(numerator / denominator, rel=1e-3)
            frames = video.read(wanted)
            assert frames.shape == (4, *size, 3)
            assert np.array_equal(frames, [expected[number] for number in wanted.tolist()]), row["file"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["decord", "torchcodec"])
def test_other_decoders_agree_or_refuse(clips: Path, name: str) -> None:
    """Among them rotated files: all three turn them, and the same way."""
    try:
        other = get_decoder(name)
    except UserError as error:
        pytest.skip(str(error))
    refused = set()
    for row in table(clips):
        if row["file"].startswith("asl_") and row["file"] != "asl_again.mkv":
            continue  # made alike
        wanted = [0, min(int(row["frames"]) - 1, 30)]
        with get_decoder("pyav")(str(clips / row["file"])) as video:
            expected = video.read(wanted)
        try:
            with other(str(clips / row["file"])) as video:
                frames = video.read(wanted)
                assert video.num_frames == int(row["frames"])
        except DecodeError:
            refused.add(row["file"])
            continue
        assert np.abs(frames.astype(int) - expected).mean() < 2, row["file"]
    assert refused == REFUSED[name]
