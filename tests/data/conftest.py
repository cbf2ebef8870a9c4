"""Small encoded videos, made by the tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from tests.encoding import reproducible

MakeVideo = Callable[..., Path]


def picture(number: int, height: int, width: int) -> np.ndarray:
    """Return frame ``number`` of every video: a moving coarse random texture; the top rows encode the number."""
    cells = np.random.default_rng(5).integers(40, 216, (height // 8, width // 8, 3), dtype=np.uint8)
    frame = np.kron(np.roll(cells, number, axis=1), np.ones((8, 8, 1), np.uint8))
    frame[:8] = 4 * number % 256
    return frame


def encode(
    path: Path,
    frames: int = 24,
    size: tuple[int, int] = (48, 64),
    codec: str = "libx264",
    rotation: int = 0,
    **options: str,
) -> Path:
    """Write a video of ``frames`` frames of ``size`` (height, width)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=reproducible(codec, options))
        stream.height, stream.width = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if rotation:
            stream.set_display_rotation(rotation)
        for number in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number, *size), format="rgb24")))
        container.mux(stream.encode(None))
    return path


def table_first(source: Path, target: Path) -> Path:
    """Write the same MP4 file with its frame table before the frames, as for streaming."""
    with av.open(str(source)) as read, av.open(str(target), "w", options={"movflags": "faststart"}) as write:
        stream = read.streams.video[0]
        copy = write.add_stream_from_template(stream)
        for packet in read.demux(stream):
            if packet.size:
                packet.stream = copy
                write.mux(packet)
    return target


def places_of_packets(path: Path) -> list[tuple[int, int]]:
    """Return offset and size of a video's packets, in their order in the file."""
    with av.open(str(path)) as container:
        return sorted((packet.pos, packet.size) for packet in container.demux(video=0) if packet.size)


@pytest.fixture
def make_video(tmp_path: Path) -> MakeVideo:
    """Function that encodes a video under a file name; other arguments as for :func:`encode`."""
    return lambda name, *args, **kwargs: encode(tmp_path / name, *args, **kwargs)


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder: six videos of 3 to 40 frames in two classes, one damaged file in each, and a list of them."""
    folder = tmp_path_factory.mktemp("videos")
    for number, frames in enumerate((40, 30, 3, 24, 33, 26)):
        encode(folder / "ab"[number % 2] / f"{number}.mp4", frames)
    for name in "ab":
        (folder / name / "damaged.mp4").write_bytes(b"this is not a video" * 99)
    rows = [f"{path.relative_to(folder)} {'ab'.index(path.parent.name)}" for path in sorted(folder.rglob("*.mp4"))]
    (folder / "train.csv").write_text("\n".join(rows) + "\n")
    return folder
