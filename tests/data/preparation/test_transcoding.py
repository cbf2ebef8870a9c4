"""One video: as many frames at the same times, upright, of the wanted size, and nothing half-written."""

from __future__ import annotations

import ctypes
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from adamae.data.decoding import DecodeError, get_decoder, installed_decoders
from adamae.data.preparation.transcoding import Encoded, Encoding, transcode
from adamae.errors import UserError
from tests.encoding import reproducible


def scene(number: int, height: int, width: int) -> np.ndarray:
    """Soft colours that move: what scaling and encoding change little. Top left is bright."""
    rows, columns = np.indices((height, width)) / max(height, width)
    waves = [np.sin(6 * rows + 4 * columns + 0.3 * number + phase) for phase in (0, 2, 4)]
    frame = 110 + 60 * np.stack(waves, axis=-1)
    frame[: height // 4, : width // 4] = 230
    return frame.astype(np.uint8)


def write(
    path: Path,
    *,
    frames: int = 9,
    size: tuple[int, int] = (96, 128),
    codec: str = "libx264",
    pixels: str = "yuv420p",
    times: list[int] | None = None,
    edit: Callable[[av.VideoStream], object] = lambda stream: None,
) -> Path:
    with av.open(str(path), "w") as container:
        options = reproducible(codec, {"crf": "10"} if codec == "libx264" else {})
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width = size
        stream.pix_fmt = pixels
        if codec == "mjpeg":
            stream.bit_rate = 10**7
        edit(stream)
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(scene(number, *size), format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def reencode(source: Path, **options: int) -> tuple[Path, Encoded]:
    target = source.parent / "made" / "out.mp4"
    made = transcode(str(source), str(target), str(source.parent / "part" / "1.mp4"), Encoding(**options))
    assert list((source.parent / "part").iterdir()) == []
    return target, made


def read(path: Path) -> np.ndarray:
    with get_decoder("pyav")(str(path)) as video:
        return video.read(range(video.num_frames))


def difference(source: Path, target: Path) -> float:
    """Mean absolute difference of all frames, the source scaled to the target's size."""
    before, after = read(source), read(target)
    assert len(before) == len(after)
    height, width = after.shape[1:3]
    scaled = [np.asarray(Image.fromarray(frame).resize((width, height), Image.BICUBIC)) for frame in before]
    return float(np.abs(np.stack(scaled).astype(int) - after).mean())


def times_of(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        times = [frame.pts * frame.time_base for frame in container.decode(video=0)]
    return [time - times[0] for time in times]


VARIETY = {
    "plain": {},
    "portrait": {"size": (128, 96)},
    "VP8": {"codec": "libvpx"},
    "MPEG-4 in AVI": {"codec": "mpeg4"},
    "4:4:4 and odd": {"size": (97, 131), "pixels": "yuv444p"},
    "10 bits": {"pixels": "yuv420p10le"},
    "grey": {"pixels": "gray"},
    "full range": {"codec": "mjpeg", "pixels": "yuvj422p"},
    "full range H.264": {"pixels": "yuvj420p"},
    "VP9 of full range": {
        "codec": "libvpx-vp9",
        "edit": lambda stream: setattr(stream.codec_context, "color_range", 2),
    },
    "RGB": {"codec": "libx264rgb", "pixels": "rgb24"},
    "BT.709": {"edit": lambda stream: setattr(stream.codec_context, "colorspace", 1)},
    "turned": {"edit": lambda stream: stream.set_display_rotation(90)},
    "upside down": {"edit": lambda stream: stream.set_display_rotation(180)},
    "turned the other way": {"edit": lambda stream: stream.set_display_rotation(270)},
}


@pytest.mark.parametrize("options", VARIETY.values(), ids=VARIETY)
def test_frames_are_those_of_the_source(options: dict[str, object], tmp_path: Path) -> None:
    suffix = {"libvpx": "webm", "libvpx-vp9": "webm", "mpeg4": "avi", "mjpeg": "mkv"}
    source = write(tmp_path / f"source.{suffix.get(str(options.get('codec')), 'mp4')}", **options)  # type: ignore[arg-type]
    target, made = reencode(source, short_side=64, crf=4)
    before, after = read(source), read(target)
    assert made.frames == len(before) == len(after) == 9
    assert after.shape[1:3] == (made.height, made.width)
    assert min(after.shape[1:3]) == 64
    assert after.shape[1] / after.shape[2] == pytest.approx(before.shape[1] / before.shape[2], rel=0.03)
    assert difference(source, target) < 4
    with av.open(str(target)) as container:
        assert container.streams.video[0].average_rate == 25
        assert container.streams.video[0].pix_fmt in ("yuv420p", "yuvj420p")
        assert len(container.streams) == 1


@pytest.mark.parametrize("turned", [0, 90])
def test_a_sample_aspect_ratio_is_a_mark_and_changes_no_picture(turned: int, tmp_path: Path) -> None:
    """340 x 256 with pixels of 64:51 has 4:3 read as it is and prepared, with every decoder, and players are told."""

    def anamorphic(stream: av.VideoStream) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(64, 51)
        if turned:
            stream.set_display_rotation(turned)

    source = write(tmp_path / "source.mp4", size=(256, 340), frames=3, edit=anamorphic)
    size = (340, 256) if turned else (256, 340)
    for short_side in (256, 128):
        target, made = reencode(source, short_side=short_side, crf=4)
        smaller = 256 // short_side
        assert (made.height, made.width) == (size[0] // smaller, size[1] // smaller)
        assert difference(source, target) < 4
        for path, expected in ((source, size), (target, (made.height, made.width))):
            for name in installed_decoders():
                # The others may not be loadable here, or refuse turned frames of this width.
                with suppress(*(() if name == "pyav" else (UserError,))), get_decoder(name)(str(path)) as video:
                    assert video.read([1]).shape == (1, *expected, 3)
        with av.open(str(target)) as container:
            ratio = container.streams.video[0].codec_context.sample_aspect_ratio
            assert ratio == (Fraction(51, 64) if turned else Fraction(64, 51))


@pytest.mark.parametrize(("size", "wanted"), [((50, 60), (50, 60)), ((51, 61), (50, 60)), ((65, 81), (64, 80))])
def test_small_videos_keep_their_size(size: tuple[int, int], wanted: tuple[int, int], tmp_path: Path) -> None:
    _, made = reencode(write(tmp_path / "source.mp4", size=size, pixels="yuv444p"), short_side=64)
    assert (made.height, made.width) == wanted


def test_uneven_times_stay(tmp_path: Path) -> None:
    times = [0, 4, 8, 20, 24, 60, 61, 62, 100]

    def own_time(stream: av.VideoStream) -> None:
        stream.codec_context.time_base = Fraction(1, 100)

    source = write(tmp_path / "source.mkv", times=times, edit=own_time)
    target, made = reencode(source, short_side=64)
    assert times_of(target) == pytest.approx([Fraction(time, 100) for time in times], abs=1e-3)
    assert made.frames == len(times)


@pytest.mark.parametrize("bframes", [0, 3])
def test_groups_are_short_and_closed(bframes: int, tmp_path: Path) -> None:
    target, _ = reencode(write(tmp_path / "source.mp4", frames=20), short_side=64, gop=8, bframes=bframes)
    with av.open(str(target)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    assert [number for number, packet in enumerate(packets) if packet.is_keyframe] == [0, 8, 16]
    for start, end in ((0, 8), (8, 16), (16, 20)):
        before, group = packets[:start], packets[start:end]
        assert all(packet.pts < group[0].pts for packet in before)
        assert all(packet.pts >= group[0].pts for packet in group)
    assert all(packet.pts == packet.dts for packet in packets) == (bframes == 0)


@pytest.mark.parametrize("decoder", installed_decoders())
def test_every_decoder_reads_the_same_frames(decoder: str, tmp_path: Path) -> None:
    source = write(tmp_path / "source.mp4", frames=40)
    target, _ = reencode(source, short_side=64, crf=4)
    try:
        open_video = get_decoder(decoder)
    except UserError as error:
        pytest.skip(str(error))
    before = read(source)
    with open_video(str(target)) as video:
        assert video.num_frames == 40
        for number in (39, 3, 17, 16, 15, 0, 30):
            (frame,) = video.read([number])
            wanted = Image.fromarray(before[number]).resize(frame.shape[1::-1], Image.BICUBIC)
            assert np.abs(np.asarray(wanted).astype(int) - frame).mean() < 4, number


def test_the_same_bytes_each_time(tmp_path: Path) -> None:
    source = write(tmp_path / "source.mp4")
    first = reencode(source, short_side=64)[0].read_bytes()
    assert reencode(source, short_side=64)[0].read_bytes() == first


@contextmanager
def without_vector_instructions() -> Iterator[None]:
    """FFmpeg as on a CPU that has none, or of which it knows none."""
    maps = Path("/proc/self/maps")
    loaded = (
        {line.split()[-1] for line in maps.read_text().splitlines() if "/libavutil" in line} if maps.exists() else ()
    )
    # Other decoders bring one of their own.
    libraries = [ctypes.CDLL(path) for path in loaded]
    if not libraries:
        pytest.skip("FFmpeg's library is not found among the loaded ones")
    flags = [library.av_get_cpu_flags() for library in libraries]
    assert all(flags)
    for library in libraries:
        library.av_force_cpu_flags(0)
    try:
        yield
    finally:
        for library, before in zip(libraries, flags, strict=True):
            library.av_force_cpu_flags(before)


@pytest.mark.parametrize("name", ["plain", "4:4:4 and odd", "10 bits", "full range", "RGB", "turned"])
def test_the_same_bytes_on_every_cpu(name: str, tmp_path: Path) -> None:
    source = write(tmp_path / f"source.{'mkv' if name == 'full range' else 'mp4'}", **VARIETY[name])  # type: ignore[arg-type]
    here = reencode(source, short_side=64)[0].read_bytes()
    with without_vector_instructions():
        assert reencode(source, short_side=64)[0].read_bytes() == here


def test_a_source_whose_size_changes_on_the_way(tmp_path: Path) -> None:
    """All frames have the size of the first."""
    parts = [write(tmp_path / f"{number}.h264", size=size) for number, size in enumerate([(96, 128), (192, 256)])]
    source = tmp_path / "source.h264"
    source.write_bytes(b"".join(part.read_bytes() for part in parts))
    target, made = reencode(source, short_side=64, crf=4)
    assert made.frames == 18
    frames = read(target)
    for number, frame in enumerate(frames):
        expected = Image.fromarray(scene(number % 9, 192, 256)).resize((86, 64), Image.BICUBIC)
        assert np.abs(np.asarray(expected).astype(int) - frame).mean() < 6


def test_damaged_packets_are_passed_over(tmp_path: Path) -> None:
    source = write(tmp_path / "source.mp4", frames=30, edit=lambda stream: setattr(stream, "gop_size", 5))
    with av.open(str(source)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        holes = [(packet.pos, packet.size) for packet in packets if packet.is_keyframe][2:3]
    raw = bytearray(source.read_bytes())
    for place, size in holes:
        raw[place : place + size] = b"\xff" * size
    source.write_bytes(raw)
    target, made = reencode(source, short_side=64)
    assert made.damaged >= 1
    assert len(read(target)) == len(read(source)) == made.frames


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (b"no video" * 99, "not a readable video"), (None, "no such file")],
)
def test_what_is_no_video(content: bytes | None, reason: str, tmp_path: Path) -> None:
    source = tmp_path / "source.mp4"
    if content is not None:
        source.write_bytes(content)
    with pytest.raises(DecodeError, match=reason):
        transcode(str(source), str(tmp_path / "made" / "o.mp4"), str(tmp_path / "part" / "1.mp4"), Encoding())
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path != source] == []


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: writing beyond it fails as a full disk does."""
    source = write(tmp_path / "source.mp4", frames=60)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            transcode(str(source), str(tmp_path / "out.mp4"), str(tmp_path / "part.mp4"), Encoding(short_side=64))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert list(tmp_path.iterdir()) == [source]


def test_a_library_without_the_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adamae.data.h264_encoder.CODEC", "libx26x")
    with pytest.raises(UserError, match="has no libx26x encoder"):
        transcode("a.mp4", str(tmp_path / "b.mp4"), str(tmp_path / "c.mp4"), Encoding())


def test_real_videos_of_every_shape(clips: Path, tmp_path: Path) -> None:
    for name in ("rotate_90.mov", "rotate_180.mov", "rotate_270.mov", "unordered.mov", "corrupted.mp4", "asl_eat.mkv"):
        target = tmp_path / f"{name}.mp4"
        made = transcode(str(clips / name), str(target), str(tmp_path / "part.mp4"), Encoding(short_side=128, crf=12))
        with get_decoder("pyav")(str(target)) as video:
            assert video.num_frames == made.frames
        assert difference(clips / name, target) < 4, name
