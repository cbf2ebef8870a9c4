"""Every back end gives from a video's bytes what it gives from its file."""

from pathlib import Path

import numpy as np
import pytest

from adamae.data.decoding import DECODERS, DecodeError, EncodedVideo, OpenVideo, byte_ranges, get_decoder, pyav
from adamae.errors import UserError
from tests.data.conftest import MakeVideo


@pytest.fixture(params=list(DECODERS))
def open_video(request: pytest.FixtureRequest) -> OpenVideo:
    try:
        return get_decoder(request.param)
    except UserError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.mov", "a.webm"])
def test_bytes_give_the_frames_of_the_file(open_video: OpenVideo, make_video: MakeVideo, name: str) -> None:
    codec = "libvpx-vp9" if name == "a.webm" else "libx264"
    path = make_video(name, 12, codec=codec, g="4", bf="0")
    wanted = [11, 0, 5, 5]
    with open_video(str(path)) as file, open_video(EncodedVideo("shard.tar/a", path.read_bytes())) as stored:
        assert (stored.num_frames, stored.fps) == (file.num_frames, file.fps)
        assert np.array_equal(stored.read(wanted), file.read(wanted))


@pytest.mark.parametrize(
    "damage", [lambda data: b"", lambda data: b"no video" * 99, lambda data: data[: len(data) // 2]]
)
def test_messages_name_the_video(open_video: OpenVideo, make_video: MakeVideo, damage: object) -> None:
    data = damage(make_video("a.mp4", 12).read_bytes())  # type: ignore[operator]
    with pytest.raises(DecodeError) as raised, open_video(EncodedVideo("DIR/000001.tar/a.mp4", data)) as video:
        video.read([0])
    assert str(raised.value).startswith("DIR/000001.tar/a.mp4: ")
    assert "\n" not in str(raised.value)


def test_bytes_that_are_too_many_to_keep_are_read_again(make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch) -> None:
    data = Path(make_video("a.mp4", 24, g="6")).read_bytes()
    with pyav.open_video(EncodedVideo("kept", data)) as video:
        expected = video.read([3, 20])
    monkeypatch.setattr(byte_ranges, "KEPT_BYTES", 0)
    with pyav.open_video(EncodedVideo("again", data)) as video:
        assert np.array_equal(video.read([20]), expected[1:])
        assert np.array_equal(video.read([3]), expected[:1])
