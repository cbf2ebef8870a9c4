"""Files that are too large to keep: the same frames, and no more is read than they need."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from adamae.data.decoding import DecodeError, EncodedVideo, byte_ranges, pyav
from adamae.data.decoding.byte_ranges import ByteRanges, LoadedFile, OpenFile
from adamae.data.decoding.packets import DemuxedPackets, PlainPackets
from tests.data.conftest import MakeVideo, encode
from tests.data.decoding.large_video import inflate
from tests.data.test_decoding import KINDS, in_sequence

GIGABYTE, FRAMES = 2**30, 480
# What FFmpeg can seek in, with an index and without.
SOUGHT: dict[str, dict[str, str]] = KINDS | {
    "stream.ts": {"g": "6"},
    "stream_hevc.ts": {"codec": "libx265", "g": "6", "x265-params": "log-level=none:bframes=3"},
    "flash.flv": {"g": "6"},
    "quicktime.mov": {"g": "6"},
}


def bytes_read() -> int:
    """By this process, from files and caches alike."""
    return int(Path("/proc/self/io").read_text().split()[1])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encode(tmp_path_factory.mktemp("small") / "a.mp4", FRAMES, g="4", bf="2")


@pytest.fixture(scope="module")
def large(small: Path) -> Path:
    """A gigabyte in packets of two megabytes."""
    path = inflate(small, small.with_name("large.mp4"), GIGABYTE)
    assert path.stat().st_size > GIGABYTE > 100 * path.stat().st_blocks * 512
    return path


@pytest.fixture
def none_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is too large."""
    monkeypatch.setattr(byte_ranges, "KEPT_BYTES", 0)


def segments(rng: np.random.Generator) -> np.ndarray:
    """A frame from each of 16 parts of the video."""
    return np.arange(16) * (FRAMES // 16) + rng.integers(0, FRAMES // 16, 16)


def needed(video: pyav.PyAVReader, wanted: np.ndarray) -> int:
    """Bytes of the packets that have to be decoded, in the large file."""
    assert video._table is not None
    return sum(len(span.packets) for span in video._table.spans(wanted.tolist())) * GIGABYTE // FRAMES


def test_sixteen_segments_of_a_gigabyte(small: Path, large: Path, rng: np.random.Generator) -> None:
    """It took seventeen gigabytes."""
    expected, wanted = in_sequence(small), segments(rng)
    before = bytes_read()
    with pyav.open_video(str(large)) as video:
        frames = video.read(wanted)
        read = bytes_read() - before
        assert isinstance(video._packets, PlainPackets)
        assert np.array_equal(frames, [expected[number] for number in wanted])
        assert GIGABYTE / 100 < needed(video, wanted) < GIGABYTE / 8
        assert read < needed(video, wanted) + 2**18


@pytest.mark.slow
def test_the_gigabyte_decodes_in_sequence_to_the_frames_of_the_small_file(small: Path, large: Path) -> None:
    assert np.array_equal(in_sequence(large), in_sequence(small))


@pytest.mark.slow
def test_sixteen_segments_where_ffmpeg_seeks(small: Path, large: Path, rng: np.random.Generator) -> None:
    """A box that is not understood here: FFmpeg reads the file once, and from then on no more than it needs."""
    expected, wanted = in_sequence(small), segments(rng)
    with large.open("ab") as file:
        file.write(b"\0\0\0\x10what" + bytes(8))
    before = bytes_read()
    with pyav.open_video(str(large)) as video:
        opened = bytes_read()
        assert isinstance(video._packets, DemuxedPackets)
        assert GIGABYTE < opened - before < 1.1 * GIGABYTE
        frames = video.read(wanted)
        read = bytes_read() - opened
        assert np.array_equal(frames, [expected[number] for number in wanted])
        # Packets between those that are wanted are read as well.
        assert read < 2 * needed(video, wanted)


@pytest.mark.usefixtures("none_kept")
@pytest.mark.parametrize("name", SOUGHT)
def test_random_access_equals_sequence(name: str, make_video: MakeVideo, rng: np.random.Generator) -> None:
    path = make_video(name, 60, **SOUGHT[name])
    expected = in_sequence(path)
    for source in (str(path), EncodedVideo(name, path.read_bytes())):
        with pyav.open_video(source) as video:
            for _ in range(5):
                wanted = np.sort(rng.integers(0, len(expected), 4))
                assert np.array_equal(video.read(wanted), [expected[number] for number in wanted])
            if isinstance(video._packets, DemuxedPackets):
                assert video._packets._kept is None
                assert video._packets._seeks


class Elsewhere:
    """A container that seeks to the wrong place.

    Args:
        container: One that seeks to the right one.
        offset: What is added to the time that is asked for.
        lost: Packets that are lost there.
    """

    def __init__(self, container: Any, offset: int, lost: tuple[int, ...]) -> None:
        self._container = container
        self._offset = offset
        self._lost = lost

    def seek(self, time: int, **options: Any) -> None:
        self._container.seek(max(time + self._offset, 0), **options)

    def demux(self, stream: Any) -> Iterator[av.Packet]:
        for number, packet in enumerate(self._container.demux(stream)):
            if number not in self._lost:
                yield packet

    def close(self) -> None:
        self._container.close()


@pytest.mark.usefixtures("none_kept")
@pytest.mark.parametrize(
    ("offset", "lost", "holds"),
    [
        (0, (), True),
        (-12_000, (), True),  # far ahead costs time alone
        (+12_000, (), False),
        (10**9, (), False),
        (0, (0,), True),  # the next try begins earlier
        (0, (3,), False),
        (0, (1, 2), False),
    ],
)
def test_where_ffmpeg_does_not_seek_as_it_reads_the_file_is_read_from_its_beginning(
    offset: int, lost: tuple[int, ...], holds: bool, make_video: MakeVideo
) -> None:
    path = make_video("a.mov", 60, g="6", bf="2")
    expected = in_sequence(path)
    with pyav.open_video(str(path)) as video:
        source = video._packets
        assert isinstance(source, DemuxedPackets)
        source._demuxer._container = Elsewhere(source._demuxer._container, offset, lost)  # type: ignore[assignment]
        for wanted in ([34, 35], [50], [11, 40]):
            assert np.array_equal(video.read(wanted), [expected[number] for number in wanted])
        assert source._seeks == holds
        assert video._table is not None


@pytest.mark.usefixtures("none_kept")
def test_a_file_that_becomes_shorter_meanwhile(make_video: MakeVideo) -> None:
    path = make_video("a.mp4", 60, g="6")
    with pyav.open_video(str(path)) as video:
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size // 3)
        with pytest.raises(DecodeError) as raised:
            video.read([3, 58])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", ["loaded", "open"])
def test_ranges_are_the_file_s(kind: str, tmp_path: Path, rng: np.random.Generator) -> None:
    data = rng.bytes(5000)
    (tmp_path / "a").write_bytes(data)
    file: ByteRanges = LoadedFile(data) if kind == "loaded" else OpenFile(io.FileIO(str(tmp_path / "a")))
    assert file.size == 5000
    starts = rng.integers(0, 4995, 3000)
    expected = np.array([list(data[start : start + 5]) for start in starts.tolist()], np.uint8)
    assert np.array_equal(file.gather(starts, 5), expected)
    assert bytes(file.read(17, 1000)) == data[17:1017]
    if kind == "open":
        with pytest.raises(OSError, match="the file ends before byte 5001"):
            file.read(4000, 1001)
    file.close()
