"""Truncated files are found in every container that stores sizes, and no complete file is taken for one."""

from __future__ import annotations

import io
import struct
import tracemalloc
from pathlib import Path

import av
import numpy as np
import pytest

from adamae.data.decoding import DecodeError, EncodedVideo, get_decoder
from adamae.data.decoding.truncation import Truncation, find_truncation
from adamae.errors import UserError
from tests.data.conftest import MakeVideo, places_of_packets, table_first
from tests.data.test_decoding import KINDS
from tests.encoding import reproducible


@pytest.mark.parametrize("name", KINDS)
def test_a_complete_file_is_not_truncated(name: str, make_video: MakeVideo) -> None:
    with make_video(name, 30, **KINDS[name]).open("rb") as file:
        assert find_truncation(file) is None


def test_real_clips_are_not_truncated(clips: Path) -> None:
    for path in clips.iterdir():
        with path.open("rb") as file:
            assert find_truncation(file) is None, path


@pytest.mark.parametrize("decoder", ["pyav", "decord", "torchcodec"])
def test_twenty_of_280_frames(decoder: str, make_video: MakeVideo, tmp_path: Path) -> None:
    try:
        open_video = get_decoder(decoder)
    except UserError as error:
        pytest.skip(str(error))
    whole = table_first(make_video("a.mp4", 280, (16, 16), g="10"), tmp_path / "whole.mp4")
    place, size = places_of_packets(whole)[19]
    for end, message in (
        (place + size, "cut off: 20 of 280 frames are there"),
        (place + size - 1, "cut off: 19 of 280"),
    ):
        cut = tmp_path / "cut.mp4"
        cut.write_bytes(whole.read_bytes()[:end])
        for source in (str(cut), EncodedVideo("cut", cut.read_bytes())):
            with pytest.raises(DecodeError, match=message):
                open_video(source)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", {}),
        ("a.mp4", {"movflags": "frag_keyframe+empty_moov"}),
        ("a.mov", {"movflags": "faststart"}),
        ("a.mkv", {}),
        ("a.webm", {"codec": "libvpx"}),
        ("a.avi", {"codec": "mpeg4"}),
    ],
)
def test_cut_within_any_frame_it_is_found(
    name: str, options: dict[str, str], tmp_path: Path, rng: np.random.Generator
) -> None:
    container = {key: value for key, value in options.items() if key == "movflags"}
    path = tmp_path / name
    with av.open(str(path), "w", options=container) as out:
        codec = options.get("codec", "libx264")
        stream = out.add_stream(codec, rate=25, options=reproducible(codec, {"g": "5"}))
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(30):
            frame = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(stream.encode(None))
    content = path.read_bytes()
    assert find_truncation(io.BytesIO(content)) is None
    for place, size in places_of_packets(path):
        at = place + int(rng.integers(size))
        truncation = find_truncation(io.BytesIO(content[:at]))
        assert truncation is not None
        assert truncation.found < truncation.expected


def test_frames_of_one_size(make_video: MakeVideo, tmp_path: Path, rng: np.random.Generator) -> None:
    """The table of sizes is one number then, and none lists the frames: whatever it counts, little memory is taken."""
    content = table_first(make_video("a.mov", 30, (16, 16), codec="rawvideo"), tmp_path / "b.mov").read_bytes()
    ((first, size), *_) = places_of_packets(tmp_path / "b.mov")
    sizes, chunks = content.index(b"stsz") + 8, content.index(b"stsc") + 16
    assert struct.unpack_from(">2I", content, sizes) == (size, 30)
    assert find_truncation(io.BytesIO(content)) is None
    for there in range(30):
        end = first + there * size + int(rng.integers(size))
        assert find_truncation(io.BytesIO(content[:end])) == Truncation(there, 30, "frames")
    # Of a gigabyte if it were kept.
    many = bytearray(content)
    struct.pack_into(">I", many, sizes + 4, 2**27)
    tracemalloc.start()
    assert find_truncation(io.BytesIO(many)) is None
    struct.pack_into(">I", many, chunks, 2**27)
    assert find_truncation(io.BytesIO(many)) == Truncation(30, 2**27, "frames")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


def test_what_comes_behind_the_pictures_may_be_missing(make_video: MakeVideo, tmp_path: Path) -> None:
    """An index or tags that broke off cost no frame; junk behind a video neither."""
    for name in ("a.mkv", "a.avi"):
        content = make_video(name, 30, codec="mpeg4").read_bytes()
        assert find_truncation(io.BytesIO(content[:-3])) is None
    content = table_first(make_video("a.mp4", 30), tmp_path / "whole.mp4").read_bytes()
    assert find_truncation(io.BytesIO(content + struct.pack(">I4s", 10**9, b"junk") + b"x" * 50)) is None


def test_any_bytes_are_survived(make_video: MakeVideo, rng: np.random.Generator) -> None:
    for name in ("a.mp4", "a.mkv", "a.avi"):
        content = make_video(name, 12, codec="mpeg4").read_bytes()
        for _ in range(200):
            damaged = bytearray(content[: int(rng.integers(1, len(content)))])
            for place in rng.integers(0, len(damaged), 4):
                damaged[place] ^= 1 << int(rng.integers(8))
            find_truncation(io.BytesIO(damaged))
