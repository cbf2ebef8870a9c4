"""Less is decoded and kept than whole videos hold, and the pixels are those of whole frames."""

from pathlib import Path

import numpy as np
import pytest

from adamae.data.augmentation import Box, CropPlan, crop
from adamae.data.cutting import read_crops
from adamae.data.decoding import DECODERS, OpenVideo, get_decoder, pyav
from adamae.data.frame_indices import pretrain_dense
from adamae.errors import UserError
from tests.data.conftest import MakeVideo
from tests.data.test_decoding import KINDS, decoded_packets, in_sequence

PREPARED = {"g": "12", "bf": "3", "x264-params": "b-pyramid=none:b-adapt=0:scenecut=0:open-gop=0"}


@pytest.fixture(params=list(DECODERS))
def open_video(request: pytest.FixtureRequest) -> OpenVideo:
    try:
        return get_decoder(request.param)
    except UserError as error:
        pytest.skip(str(error))


def test_pictures_that_nothing_refers_to_are_left_out(make_video: MakeVideo) -> None:
    """Of 61 frames from the first to the last of a clip, 16 are wanted and one in three is referred to."""
    path = make_video("a.mp4", 72, **PREPARED)
    whole = in_sequence(path)
    for first, most in ((0, 17), (1, 38), (3, 33)):
        wanted = list(range(first, first + 61, 4))
        with pyav.open_video(str(path)) as video:
            assert np.array_equal(video.read(wanted), [whole[number] for number in wanted])
            # The end of each of six runs counts as one.
            assert decoded_packets(video, wanted) <= most + 6


@pytest.mark.parametrize("name", ["closed.mp4", "pyramid.mp4", "spare.mp4", "xvid.avi", "hidden.webm", "main.mp4"])
def test_clips_are_those_of_a_decoder_that_leaves_nothing_out(
    name: str, make_video: MakeVideo, rng: np.random.Generator
) -> None:
    path = make_video(name, 40, **KINDS[name])
    whole = in_sequence(path)
    with pyav.open_video(str(path)) as video:
        for _ in range(4):
            clip = pretrain_dense(40, 8, int(rng.integers(1, 5)), rng)
            assert np.array_equal(video.read(clip), [whole[number] for number in clip])
        assert video._table is not None


@pytest.mark.parametrize("bframes", ["1", "3"])
def test_times_of_decoding_are_not_taken_for_times_of_showing(make_video: MakeVideo, bframes: str) -> None:
    """AVI has no times of its own: without the B pictures nothing would show that frames are shown in another order."""
    path = make_video("a.avi", 24, g="8", bf=bframes, **{"x264-params": "b-pyramid=none:b-adapt=0:scenecut=0"})
    expected = in_sequence(path)
    for number in range(24):
        with pyav.open_video(str(path)) as video:
            assert np.array_equal(video.read([number])[0], expected[number]), number


class FixedBoxes:
    """Takes the given boxes, one for each clip."""

    def __init__(self, boxes: list[Box]) -> None:
        self.boxes = iter(boxes)
        self.asked: list[tuple[int, int]] = []

    def plan(self, height: int, width: int, rng: np.random.Generator) -> CropPlan:
        self.asked.append((height, width))
        return CropPlan(next(self.boxes), height, width)


@pytest.mark.parametrize("rotation", [0, 90])
def test_boxes_are_cut_from_whole_frames(open_video: OpenVideo, make_video: MakeVideo, rotation: int) -> None:
    path = str(make_video("a.mp4", 24, (64, 128), rotation=rotation, g="6"))
    clips = [np.array([3, 9, 9, 20]), np.array([20, 3])]
    boxes = [Box(5, 3, 31, 17), Box(0, 8, 64, 41)]
    transform = FixedBoxes(boxes)
    with open_video(path) as video:
        _, got, size = read_crops(video, clips, transform, np.random.default_rng())
        expected = [crop(video.read(clip), box) for clip, box in zip(clips, boxes, strict=True)]
    assert transform.asked == [size] * 2 == [(128, 64) if rotation else (64, 128)] * 2
    assert all(np.array_equal(one, other) for one, other in zip(got, expected, strict=True))


PIXELS: dict[str, dict[str, str]] = {
    "plain": {},
    "full range": {"color_range": "pc"},
    "BT.709": {"colorspace": "bt709"},
    "interlaced": {"x264-params": "tff=1", "flags": "+ildct+ilme"},
}


@pytest.mark.parametrize("size", [(64, 96), (48, 70), (64, 130)])
@pytest.mark.parametrize("name", PIXELS)
def test_pixels_of_a_part_are_those_of_whole_frames(
    name: str, size: tuple[int, int], make_video: MakeVideo, rng: np.random.Generator
) -> None:
    """Neither a box's borders nor what the container says of colours may show."""
    with pyav.open_video(str(make_video("a.mp4", 12, size, **PIXELS[name]))) as video:
        for _ in range(8):
            clips, boxes = [], []
            for _ in range(int(rng.integers(1, 4))):
                (top, bottom), (left, right) = (np.sort(rng.choice(side + 1, 2, replace=False)) for side in size)
                boxes.append(Box(int(top), int(left), int(bottom - top), int(right - left)))
                clips.append(rng.integers(0, 12, 3))
            _, got, _ = read_crops(video, clips, FixedBoxes(boxes), rng)
            whole = [in_whole(video, clip) for clip in clips]
            for part, frames, box in zip(got, whole, boxes, strict=True):
                assert np.array_equal(part, crop(frames, box)), box


def in_whole(video: pyav.PyAVReader, clip: np.ndarray) -> np.ndarray:
    """Frames by FFmpeg's conversion of all that they hold."""
    frames = dict.fromkeys(clip.tolist())
    for number, frame in enumerate(video._in_sequence()):
        if number in frames:
            frames[number] = frame.to_ndarray(format="rgb24")
    return np.stack([frames[number] for number in clip.tolist()])


def test_frames_outside_the_video_are_refused(open_video: OpenVideo, make_video: MakeVideo) -> None:
    with open_video(str(make_video("a.mp4", 5))) as video, pytest.raises(IndexError, match="a video of 5 frames"):
        list(video.frames([0, 5]))


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc to count threads")
def test_decoding_starts_no_threads(make_video: MakeVideo) -> None:
    """Workers have a core each; libraries that take all cores in each of them slow all of them down."""
    with pyav.open_video(str(make_video("a.mp4", 24, (256, 320)))) as video:
        before = len(list(Path("/proc/self/task").iterdir()))
        video.read(range(24))
        assert len(list(Path("/proc/self/task").iterdir())) == before
