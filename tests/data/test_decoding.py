"""Every back end on made videos, and PyAV's random access against decoding from the start."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np
import pytest

from adamae.data import decoding
from adamae.data.decoding import DECODERS, DecodeError, OpenVideo, byte_ranges, get_decoder, pyav
from adamae.data.decoding.demuxer import Demuxer
from adamae.errors import UserError
from tests.data.conftest import MakeVideo, picture

KINDS: dict[str, dict[str, str]] = {
    "closed.mp4": {"codec": "libx264", "g": "6", "bf": "2"},
    "pyramid.mp4": {"codec": "libx264", "g": "12", "bf": "5", "x264-params": "b-pyramid=normal:b-adapt=0:ref=4"},
    "spare.mp4": {"codec": "libx264", "g": "12", "bf": "3", "x264-params": "b-pyramid=none:b-adapt=0:scenecut=0"},
    "open.mkv": {"codec": "libx264", "g": "6", "bf": "2", "x264-params": "open-gop=1"},
    "refresh.mkv": {"codec": "libx264", "g": "6", "x264-params": "intra-refresh=1"},
    "reordered.avi": {"codec": "libx264", "g": "6", "bf": "2"},
    "interlaced.ts": {"codec": "libx264", "g": "6", "x264-params": "tff=1", "flags": "+ildct+ilme"},
    # One thread: with more or fewer, packets differ in size, and the smallest promise nothing.
    "xvid.avi": {"codec": "mpeg4", "g": "6", "bf": "2", "b": "2M", "threads": "1"},
    "hidden.webm": {"codec": "libvpx", "g": "9", "auto-alt-ref": "1", "lag-in-frames": "10", "deadline": "good"},
    "superframes.webm": {
        "codec": "libvpx-vp9",
        "g": "9",
        "lag-in-frames": "10",
        "cpu-used": "8",
        "deadline": "realtime",
    },
    "old.flv": {"codec": "flv", "g": "6"},
    "stills.avi": {"codec": "mjpeg"},
    "main.mp4": {"codec": "libx265", "g": "6", "x265-params": "log-level=none:bframes=3"},
}


def in_sequence(path: Path) -> list[np.ndarray]:
    """All frames, by the plainest use of the library; packets that cannot be decoded are passed over."""
    frames = []
    with av.open(str(path), metadata_errors="ignore") as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for packet in container.demux(stream):
            try:
                frames += stream.codec_context.decode(packet if packet.size else None)
            except av.FFmpegError:
                continue
    return [np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90) for frame in frames]


@pytest.fixture(params=list(DECODERS))
def open_video(request: pytest.FixtureRequest) -> OpenVideo:
    try:
        return get_decoder(request.param)
    except UserError as error:
        pytest.skip(str(error))


def closeness(frame: np.ndarray, number: int) -> float:
    """Mean distance from made frame ``number``, in grey levels."""
    return float(np.abs(frame.astype(int) - picture(number, *frame.shape[:2])).mean())


def test_all_decoders_give_the_frames_asked_for(open_video: OpenVideo, make_video: MakeVideo) -> None:
    path = str(make_video("a.mp4", 24, g="6", crf="10"))
    with open_video(path) as video:
        assert video.num_frames == 24
        assert video.fps == pytest.approx(25)
        wanted = [23, 0, 7, 7, 12]
        frames = video.read(wanted)
        assert frames.shape == (5, 48, 64, 3)
        assert frames.dtype == np.uint8
        for frame, number in zip(frames, wanted, strict=True):
            distances = [closeness(frame, other) for other in range(24)]
            assert np.argmin(distances) == number
        assert np.array_equal(video.read(np.array([7])), frames[2:3])
        for wrong in ([24], [-1], []):
            with pytest.raises(IndexError, match="do not lie within a video of 24 frames"):
                video.read(wrong)


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_frames_come_out_upright(open_video: OpenVideo, make_video: MakeVideo, rotation: int) -> None:
    size = (64, 128)  # decord refuses turned frames whose width is not a multiple of 64
    plain = get_decoder("pyav")(str(make_video("plain.mp4", 3, size))).read([1])
    path = make_video("turned.mp4", 3, size, rotation=rotation)
    frames = open_video(str(path)).read([1])
    assert np.abs(frames.astype(int) - np.rot90(plain, rotation // 90, axes=(1, 2))).mean() < 2
    assert frames.flags.c_contiguous


def test_all_decoders_say_what_is_wrong_in_one_line(
    open_video: OpenVideo, make_video: MakeVideo, tmp_path: Path
) -> None:
    whole = make_video("whole.mp4", 12).read_bytes()
    broken = {
        "empty": b"",
        "text": b"hello " * 500,
        "truncated": whole[: len(whole) // 2],
        "noise": bytes(range(256)) * 20,
    }
    for name, content in broken.items():
        path = tmp_path / f"{name}.mp4"
        path.write_bytes(content)
        with pytest.raises(DecodeError) as raised:
            open_video(str(path))
        assert str(raised.value).startswith(f"{path}: ")
        assert "\n" not in str(raised.value)
        assert (raised.value.path, f"{path}: {raised.value.reason}") == (str(path), str(raised.value))
    with pytest.raises(DecodeError, match="no such file"):
        open_video(str(tmp_path / "none.mp4"))
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(DecodeError, match="no numbered images in this folder"):
        open_video(str(tmp_path / "folder.mp4"))


@pytest.mark.parametrize("name", KINDS)
def test_random_access_equals_sequence(name: str, make_video: MakeVideo, rng: np.random.Generator) -> None:
    expected = in_sequence(make_video(name, 30, **KINDS[name]))
    with pyav.open_video(str(make_video(name, 30, **KINDS[name]))) as video:
        assert video.num_frames == len(expected) == 30
        for _ in range(6):
            wanted = rng.integers(0, 30, 4)
            assert np.array_equal(video.read(wanted), [expected[number] for number in wanted])


def decoded_packets(video: pyav.PyAVReader, wanted: list[int]) -> int:
    """How many packets are decoded to read some frames."""
    count = 0
    whole = video._decoded

    def counted(numbers: Sequence[int] | None = None) -> Iterator[list[av.VideoFrame] | None]:
        nonlocal count
        for frames in whole(numbers):
            count += 1
            yield frames

    video._decoded = counted  # type: ignore[method-assign]
    video.read(wanted)
    return count


def test_only_what_is_needed_is_decoded(make_video: MakeVideo) -> None:
    path = str(make_video("a.mp4", 60, g="10", bf="0", **{"x264-params": "scenecut=0:keyint=10:min-keyint=10"}))
    for wanted, most in (([0], 3), ([25], 9), ([59], 12), ([3, 33], 12), ([8, 12], 16)):
        with pyav.open_video(path) as video:
            assert decoded_packets(video, wanted) <= most


def test_a_file_too_large_to_keep_is_read_again(
    make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    path = make_video("a.mkv", 30, g="6")
    expected = in_sequence(path)
    monkeypatch.setattr(byte_ranges, "KEPT_BYTES", 1000)
    with pyav.open_video(str(path)) as video:
        for _ in range(5):
            wanted = rng.integers(0, 30, 4)
            assert np.array_equal(video.read(wanted), [expected[number] for number in wanted])
        assert video._packets._kept is None


def cut(source: Path, target: Path, packets: slice) -> Path:
    """Copy some packets of a video to another file without encoding them anew."""
    with av.open(str(source)) as read, av.open(str(target), "w") as write:
        stream = read.streams.video[0]
        copy = write.add_stream_from_template(stream)
        for packet in [packet for packet in read.demux(stream) if packet.size][packets]:
            packet.stream = copy
            write.mux(packet)
    return target


@pytest.mark.parametrize("target", ["cut.mp4", "cut.mkv"])
@pytest.mark.parametrize("source", ["closed.mp4", "open.mkv"])
@pytest.mark.parametrize("first", [5, 14])
def test_files_cut_by_copying(make_video: MakeVideo, tmp_path: Path, source: str, target: str, first: int) -> None:
    """They begin in the middle of a group of pictures; times may begin anywhere."""
    path = cut(make_video(source, 30, **KINDS[source]), tmp_path / target, slice(first, None))
    expected = in_sequence(path)
    with pyav.open_video(str(path)) as video:
        assert video.num_frames == len(expected)
        last = len(expected) - 1
        wanted = [last, 0, last // 2]
        assert np.array_equal(video.read(wanted), [expected[number] for number in wanted])


def test_a_damaged_packet_is_passed_over_as_in_sequence(make_video: MakeVideo) -> None:
    """Frames are then those that can be decoded, so both ways of reading agree on their numbers."""
    path = make_video("a.mp4", 30, **KINDS["closed.mp4"])
    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.size]
    with path.open("r+b") as file:
        file.seek(places[13])
        file.write(b"\xff\xff\xff\xff")  # the size of the packet's first unit
    expected = in_sequence(path)
    with pyav.open_video(str(path)) as video:
        assert (video.num_frames, video.damaged) == (29, 1)
        assert len(expected) == 29
        wanted = [28, 3, 15, 20]
        assert np.array_equal(video.read(wanted), [expected[number] for number in wanted])


@pytest.mark.parametrize("name", KINDS)
def test_any_damage_gives_frames_or_one_clear_error(
    name: str, make_video: MakeVideo, tmp_path: Path, rng: np.random.Generator
) -> None:
    whole = make_video(name, 30, **KINDS[name]).read_bytes()
    path = tmp_path / f"damaged_{name}"
    for _ in range(8):
        content = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            content[place] ^= 1 << rng.integers(8)
        path.write_bytes(content[: rng.integers(1, len(content))] if rng.integers(2) else content)
        try:
            with pyav.open_video(str(path)) as video:
                assert video.num_frames > 0
                frames = video.read(rng.integers(0, video.num_frames, 3))
        except DecodeError as error:
            assert "\n" not in str(error)
        else:
            assert frames.dtype == np.uint8
            assert (frames.ndim, len(frames), frames.shape[3]) == (4, 3, 3)


def test_a_stream_that_appears_late(make_video: MakeVideo) -> None:
    """Whether PyAV then raises after the last packet depends on what lies in memory, so the error is raised here."""

    class Container:
        """Of which PyAV knows fewer streams than FFmpeg does when the file ends."""

        def demux(self, stream: av.VideoStream) -> Iterator[av.Packet]:
            yield from container.demux(stream)
            raise IndexError("list index out of range")

    demuxer = Demuxer(str(make_video("a.ts", 12)))
    container = demuxer._container
    demuxer._container = Container()  # type: ignore[assignment]
    breaks_off = None

    def until_the_end() -> Iterator[av.Packet]:
        nonlocal breaks_off
        breaks_off = yield from demuxer.packets()

    assert len(list(until_the_end())) == 12
    assert breaks_off is False
    container.close()


@pytest.mark.parametrize("name", ["12:30:00.mkv", "http:a.mkv", "file:a.mkv"])
@pytest.mark.parametrize("kept", [True, False], ids=["kept", "too large to keep"])
def test_a_name_with_a_colon_is_no_address(
    open_video: OpenVideo, kept: bool, name: str, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not kept:
        monkeypatch.setattr(byte_ranges, "KEPT_BYTES", 0)
    path = make_video("a.mkv", 12)
    expected = in_sequence(path)[:1]
    monkeypatch.chdir(path.rename(path.with_name(name)).parent)
    with open_video(name) as video:
        assert video.num_frames == 12
        assert np.array_equal(video.read([0]), expected)


def test_packets_that_promise_too_much(make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the decoder drops a frame that the packets announced, sequence decides, and the last stands in for it."""
    path = make_video("a.mp4", 12, g="4", bf="0")
    expected = in_sequence(path)
    with pyav.open_video(str(path)) as video:
        decode = video._decoded
        monkeypatch.setattr(
            video, "_decoded", lambda *some: ([f for f in fs or () if f.pts != 6 * 512] for fs in decode(*some))
        )
        assert np.array_equal(video.read([5, 7]), [expected[5], expected[8]])
        assert video.damaged == 0
        assert np.array_equal(video.read([10, 11]), [expected[11], expected[11]])
        assert video.damaged == 1


def test_sound_without_pictures_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(DecodeError, match="holds no video"):
        pyav.open_video(str(path))


def test_unknown_and_missing_decoders(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="decoder is 'opencv', expected one of pyav, decord, torchcodec"):
        get_decoder("opencv")
    monkeypatch.setattr(decoding, "find_spec", lambda name: None if name == "decord" else find_spec(name))
    with pytest.raises(UserError, match=r"needs the package 'decord', which is not installed; installed: pyav"):
        get_decoder("decord")


@pytest.mark.parametrize("name", ["pyav", "decord"])
def test_a_back_end_needs_no_other(name: str, make_video: MakeVideo) -> None:
    """The import of torchcodec takes seconds, so the two quick ones stand for all."""
    packages = {package for package, _ in DECODERS.values()} - {DECODERS[name][0]}
    if find_spec(DECODERS[name][0]) is None:
        pytest.skip(f"{name} is not installed")
    code = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({sorted(packages)!r}))\n"  # None makes an import fail
        "from adamae.data.decoding import byte_ranges, get_decoder\n"
        f"print(get_decoder({name!r})({str(make_video('a.mp4', 5))!r}).read([4]).shape)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "(1, 48, 64, 3)", done.stderr


def test_errors_survive_the_way_from_a_worker() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(DecodeError("a.mp4", "the file is empty")))
    assert (str(error), error.path, error.reason) == ("a.mp4: the file is empty", "a.mp4", "the file is empty")
