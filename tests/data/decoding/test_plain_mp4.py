"""What a plain MP4 file says of itself beside what FFmpeg finds in it, files that are not plain, and files that lie."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from adamae.data.decoding import DecodeError, EncodedVideo, byte_ranges, pyav
from adamae.data.decoding.byte_ranges import LoadedFile
from adamae.data.decoding.h264 import reorders
from adamae.data.decoding.mp4 import read_plain_mp4
from adamae.data.decoding.packets import DemuxedPackets, plain_packets
from adamae.data.preparation.transcoding import Encoding, transcode
from tests.data.conftest import MakeVideo, picture
from tests.data.test_decoding import KINDS, cut, in_sequence

CLOSED = {"g": "8", "bf": "3", "x264-params": "b-pyramid=none:b-adapt=0:scenecut=0:open-gop=0:cpu-independent=1"}
PLAIN: dict[str, dict[str, str]] = {
    "as prepared": CLOSED,
    "without B pictures": {"g": "6", "bf": "0"},
    "as the encoder likes": {},
    "pyramid": KINDS["pyramid.mp4"],
    "slices": CLOSED | {"slices": "3"},
    "no arithmetic coding": CLOSED | {"tune": "fastdecode"},
    "units that mark packets": CLOSED | {"aud": "1"},
    "colours": CLOSED | {"colorspace": "bt709", "color_primaries": "bt709", "color_trc": "bt709", "color_range": "pc"},
    "all key frames": {"g": "1"},
}
Change = Callable[[bytearray], None]


def place_of(data: bytes, path: str) -> tuple[int, int]:
    """First byte of what a box holds and of what follows it; ``path`` as in "moov/trak/tkhd"."""
    start, end = 0, len(data)
    for name in path.split("/"):
        while data[start + 4 : start + 8] != name.encode():
            start += int.from_bytes(data[start : start + 4], "big")
            assert start < end, path
        end = start + int.from_bytes(data[start : start + 4], "big")
        start += 8
    return start, end


TABLES = "moov/trak/mdia/minf/stbl"


def words(path: str, first: int, change: Callable[[list[int]], list[int]]) -> Change:
    """A change of the 32-bit numbers in a box from the ``first`` byte of what it holds."""

    def apply(data: bytearray) -> None:
        start, end = place_of(data, path)
        form = struct.Struct(f">{(end - start - first) // 4}I")
        data[start + first : end] = form.pack(*change(list(form.unpack(data[start + first : end]))))

    return apply


def swapped(numbers: list[int]) -> list[int]:
    return [*numbers[2:4], *numbers[:2], *numbers[4:]]


@pytest.mark.parametrize("name", PLAIN)
def test_tables_are_those_that_ffmpeg_finds(name: str, make_video: MakeVideo) -> None:
    path = make_video("a.mp4", 30, **PLAIN[name])
    data = path.read_bytes()
    video = read_plain_mp4(LoadedFile(data))
    assert video is not None
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        assert video.fps == pytest.approx(float(stream.average_rate))
        assert reorders(video.header) == bool(stream.codec_context.has_b_frames)
    assert video.starts.tolist() == [packet.pos for packet in packets]
    assert video.sizes.tolist() == [packet.size for packet in packets]
    assert video.times.tolist() == [packet.pts for packet in packets]
    plain, demuxed = plain_packets(str(path)), DemuxedPackets(str(path))
    assert plain is not None
    assert plain.table == demuxed.table
    assert [bytes(packet) for packet in plain.take([2, 9])] == [bytes(packet) for packet in demuxed.take([2, 9])]
    assert len(list(plain.take(None))) == 30


@pytest.mark.parametrize("name", PLAIN)
def test_frames_are_those_of_decoding_in_sequence(name: str, make_video: MakeVideo, rng: np.random.Generator) -> None:
    path = make_video("a.mp4", 30, **PLAIN[name])
    expected = in_sequence(path)
    with pyav.open_video(EncodedVideo("a", path.read_bytes())) as video:
        for _ in range(4):
            wanted = rng.integers(0, 30, 5)
            assert np.array_equal(video.read(wanted), [expected[number] for number in wanted])
        assert not isinstance(video._packets, DemuxedPackets)


def test_prepared_files_are_plain(make_video: MakeVideo, tmp_path: Path) -> None:
    target = tmp_path / "out" / "a.mp4"
    transcode(str(make_video("a.mp4", 40)), str(target), str(tmp_path / "part.mp4"), Encoding())
    assert plain_packets(str(target)) is not None


def with_sound(path: Path) -> Path:
    """A video with a track of silence beside it."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options=CLOSED)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        sound = container.add_stream("aac", rate=44100)
        for number in range(30):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number, 48, 64), format="rgb24")))
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            silence.sample_rate = 44100
            container.mux(sound.encode(silence))
        container.mux(stream.encode(None))
        container.mux(sound.encode(None))
    return path


def test_sound_changes_nothing(tmp_path: Path) -> None:
    path = with_sound(tmp_path / "a.mp4")
    expected = in_sequence(path)
    with pyav.open_video(str(path)) as video:
        assert not isinstance(video._packets, DemuxedPackets)
        assert np.array_equal(video.read([29, 4]), [expected[29], expected[4]])


def test_what_is_not_plain_is_left_to_ffmpeg(make_video: MakeVideo, tmp_path: Path) -> None:
    plain = make_video("plain.mp4", 30, **CLOSED)
    others = [
        make_video("turned.mp4", 30, rotation=90, **CLOSED),
        make_video("quicktime.mov", 30, **CLOSED),
        make_video("matroska.mkv", 30, **CLOSED),
        make_video("halves.mp4", 30, **KINDS["interlaced.ts"]),
        make_video("hevc.mp4", 30, **KINDS["main.mp4"]),
        cut(plain, tmp_path / "cut.mp4", slice(3, None)),
        fragments(tmp_path / "fragments.mp4"),
        tmp_path / "none.mp4",
    ]
    assert plain_packets(str(plain)) is not None
    assert [path.name for path in others if plain_packets(str(path)) is not None] == []
    data = plain.read_bytes()
    assert all(read_plain_mp4(LoadedFile(data[:end])) is None for end in range(0, len(data), 7))


def fragments(path: Path) -> Path:
    with av.open(str(path), "w", options={"movflags": "frag_keyframe+empty_moov"}) as container:
        stream = container.add_stream("libx264", rate=25, options=CLOSED)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for number in range(30):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number, 48, 64), format="rgb24")))
        container.mux(stream.encode(None))
    return path


def first_unit_larger(data: bytearray) -> None:
    """Packet 13 begins with a unit that does not end where the packet does."""
    video = read_plain_mp4(LoadedFile(bytes(data)))
    assert video is not None
    data[video.starts[13] + 3] ^= 1


def no_time_at_all(data: bytearray) -> None:
    """All frames are shown at one time, and no edit list contradicts."""
    words(f"{TABLES}/stts", 8, lambda runs: [runs[0], 0])(data)
    place = data.index(b"edts")
    data[place : place + 4] = b"udta"


def broken_picture(data: bytearray) -> None:
    """What packet 8, a key frame, holds is overwritten behind its first bytes."""
    video = read_plain_mp4(LoadedFile(bytes(data)))
    assert video is not None
    start, size = int(video.starts[8]), int(video.sizes[8])
    data[start + size // 2 : start + size] = bytes([0x55]) * (size - size // 2)


LIES: dict[str, Change] = {
    "frames shown in another order": words(f"{TABLES}/ctts", 8, swapped),
    "two frames at one time": words(f"{TABLES}/ctts", 8, lambda runs: [*runs[:3], runs[1], *runs[4:]]),
    "no time between frames": words(f"{TABLES}/stts", 8, lambda runs: [runs[0], 0]),
    "no time at all": no_time_at_all,
    "more frames than there are": words(f"{TABLES}/stts", 8, lambda runs: [runs[0] + 1, runs[1]]),
    "larger packets": words(f"{TABLES}/stsz", 12, lambda sizes: [sizes[0] + 9, *sizes[1:]]),
    "sizes exchanged": words(f"{TABLES}/stsz", 12, lambda sizes: [sizes[0], sizes[2], sizes[1], *sizes[3:]]),
    "packets of another place": words(f"{TABLES}/stco", 8, lambda places: [place + 5 for place in places]),
    "packets behind the end": words(f"{TABLES}/stco", 8, lambda places: [place + 2**20 for place in places]),
    "key frames that are none": words(f"{TABLES}/stss", 8, lambda keys: [key + 2 for key in keys]),
    "an edit that leaves frames out": words("moov/trak/edts/elst", 8, lambda edit: [edit[0] // 2, *edit[1:]]),
    "an edit that begins later": words("moov/trak/edts/elst", 8, lambda edit: [edit[0], edit[1] + 4096, edit[2]]),
    "turned": words("moov/trak/tkhd", 40, lambda matrix: [0, 2**16, 0, 2**32 - 2**16, 0, *matrix[5:]]),
    "a unit that is too large": first_unit_larger,
    "a picture that is broken": broken_picture,
}


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "too large to keep"])
@pytest.mark.parametrize("name", LIES)
def test_files_that_lie_give_what_ffmpeg_gives_in_sequence(
    name: str, kept: bool, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or one clear error where it gives nothing: whatever the tables say, no frame is taken for another."""
    if not kept:
        monkeypatch.setattr(byte_ranges, "KEPT_BYTES", 0)
    path = make_video("a.mp4", 30, **CLOSED)
    data = bytearray(path.read_bytes())
    before = bytes(data)
    LIES[name](data)
    assert data != before
    path.write_bytes(data)
    try:
        expected = in_sequence(path)
    except av.FFmpegError:
        expected = []
    for wanted in clips_of(len(expected)):
        with pyav.open_video(str(path)) as video:
            assert video.num_frames == len(expected)
            assert np.array_equal(video.read(wanted), [expected[number] for number in wanted])
    if not expected:
        with pytest.raises(DecodeError):
            pyav.open_video(str(path))


def clips_of(frames: int) -> Iterator[list[int]]:
    """All of a video, and some of it from several starts."""
    if frames:
        yield list(range(frames))
        yield from (list(range(start, frames, 4)) for start in range(min(frames, 5)))
