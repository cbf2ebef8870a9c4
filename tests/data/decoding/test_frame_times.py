"""Times of frames are those that the file presents them at, for every back end."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from adamae.data.decoding import DECODERS, DecodeError, EncodedVideo, OpenVideo, get_decoder, pyav
from adamae.data.decoding.frame_times import frame_times
from adamae.errors import UserError
from adamae.evaluation.windows import Windows, window_times
from tests.data.conftest import picture
from tests.encoding import reproducible

# Milliseconds: every sixth frame of the first second, then all of them.
UNEVEN = [*range(0, 960, 240), *range(1000, 1800, 40)]


def write_uneven(
    path: Path, milliseconds: list[int], codec: str = "libx264", turned: int = 0, bframes: int = 2
) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=reproducible(codec, {"g": "6", "bf": str(bframes)}))
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        if turned:
            stream.set_display_rotation(turned)
        for number, time in enumerate(milliseconds):
            frame = av.VideoFrame.from_ndarray(picture(number, 48, 64), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def presented(path: Path) -> list[float]:
    """Seconds from the first frame, by the plainest use of the library."""
    with av.open(str(path)) as container:
        times = [frame.pts * frame.time_base for frame in container.decode(video=0)]
    return [float(time - times[0]) for time in times]


@pytest.fixture(params=list(DECODERS))
def open_video(request: pytest.FixtureRequest) -> OpenVideo:
    try:
        return get_decoder(request.param)
    except UserError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", ["plain.mp4", "turned.mp4", "late.mkv", "late.ts", "old.flv"])
def test_uneven_times_are_those_of_the_file(open_video: OpenVideo, name: str, tmp_path: Path) -> None:
    late = 700 * name.startswith("late")
    codec = {"old.flv": "flv"}.get(name, "libx264")
    path = write_uneven(
        tmp_path / name,
        [late + time for time in UNEVEN],
        codec,
        turned=180 * name.startswith("turned"),
        bframes=2 * (codec == "libx264"),
    )
    told = presented(path)
    assert told == pytest.approx(np.array(UNEVEN) / 1000, abs=1e-3)
    try:
        video = open_video(str(path))
    except DecodeError:
        pytest.skip("this back end refuses the file")
    with video:
        assert video.times is not None
        assert video.times[:-1] == pytest.approx(told, abs=1e-6)
        # Windows end where the next frame begins; the last frame lasts as long as the one before it.
        assert video.times[-1] == pytest.approx(told[-1] + 0.04, abs=1.1e-3)
        times = window_times(Windows(num_frames=4, sampling_rate=2), video)
        assert times.start == pytest.approx([told[start] for start in (0, 8, 16)], abs=1e-6)
        assert times.end == pytest.approx([told[8], told[16], video.times[-1]], abs=1e-6)


def test_times_do_not_depend_on_the_way_to_the_frames(tmp_path: Path) -> None:
    path = write_uneven(tmp_path / "a.mp4", UNEVEN)
    with pyav.open_video(str(path)) as video, pyav.open_video(EncodedVideo("a", path.read_bytes())) as stored:
        proven = video.times
        assert np.array_equal(proven, stored.times)
    with pyav.open_video(str(path)) as video:
        video._doubt()
        assert np.array_equal(video.times, proven)
    with pyav.open_video(str(path), num_frames=len(UNEVEN) + 2) as video:
        video._doubt()
        del video.num_frames  # two more were promised than are there
        assert video.num_frames == len(UNEVEN) + 2
        assert video.times[: len(UNEVEN)] == pytest.approx(proven[:-1])
        assert (np.diff(video.times) > 0).all()


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30000, 1001), Fraction(15), Fraction(60)])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts"])
def test_an_even_rate_gives_even_times(open_video: OpenVideo, name: str, rate: Fraction, tmp_path: Path) -> None:
    """Also where the file rounds them to milliseconds."""
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        codec = "mpeg4" if name == "a.avi" else "libx264"
        stream = container.add_stream(
            codec, rate=rate, options=reproducible(codec, {"bf": "0"} if name == "a.avi" else {})
        )
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for number in range(50):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number, 48, 64), format="rgb24")))
        container.mux(stream.encode(None))
    with open_video(str(path)) as video:
        if video.fps != pytest.approx(float(rate), rel=1e-4):
            pytest.skip("this back end does not know the rate")
        assert video.times.tolist() == (np.arange(51) / video.fps).tolist()


def test_a_dropped_frame_is_no_rounding() -> None:
    kept = np.delete(np.arange(300), 150)
    # Units of a whole frame, as in AVI, and of a millisecond.
    for unit, seconds in ((1 / 30, kept / 30), (1e-3, np.round(kept / 30, 3))):
        times = frame_times(seconds, 30 * 299 / 300, unit)
        assert times[:-1] == pytest.approx(seconds, abs=1e-9)
    assert frame_times(np.array([3.0]), 0, 1e-3).tolist() == [0, 0.04]
    assert frame_times(np.array([3.0, 3.5]), 0, 1e-3).tolist() == [0, 0.5, 1.0]
