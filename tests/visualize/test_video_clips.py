"""Which frame of a video is shown in which clip, and which way time runs."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from adamae.data.decoding import get_decoder
from adamae.data.h264_encoder import encode_h264
from adamae.data.views import plan_test
from adamae.errors import UserError
from adamae.visualize.curves import timeline_csv
from adamae.visualize.film import gif_bytes, mp4_bytes
from adamae.visualize.probability import Timeline
from adamae.visualize.video_clips import choose_range, read_video_clips, split_into_clips


@pytest.mark.parametrize(
    ("starts", "frames", "length", "stride"),
    [((0,), 8, 8, 1), ((0, 4, 6), 10, 4, 1), ((0, 8, 9), 17, 4, 2), ((0,), 3, 8, 1), ((0,), 5, 4, 4)],
)
def test_every_frame_is_shown_once_and_is_itself(
    starts: tuple[int, ...], frames: int, length: int, stride: int
) -> None:
    cut = split_into_clips(np.array(starts), frames, length, stride)
    assert cut.frames[cut.clip, cut.position].tolist() == list(range(frames))
    assert cut.frames.shape == (len(cut.window), length)


def test_a_network_of_every_second_frame_sees_two_clips_a_frame_apart() -> None:
    cut = split_into_clips(np.array([0]), 8, 4, 2)
    assert cut.frames.tolist() == [[0, 2, 4, 6], [1, 3, 5, 7]]
    assert cut.clip.tolist() == [0, 1] * 4
    assert cut.position.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert cut.window.tolist() == [0, 0]


def test_beyond_the_end_the_last_frame_stands_in() -> None:
    assert split_into_clips(np.array([0]), 3, 6, 1).frames.tolist() == [[0, 1, 2, 2, 2, 2]]


def write_video(path: Path) -> Path:
    """Twelve frames of 32 x 48, each 20 brighter than the one before; a white bar at the left edge."""
    frames = np.broadcast_to(np.arange(12, dtype=np.uint8)[:, None, None, None] * 20, (12, 32, 48, 3)).copy()
    frames[:, :, :8] = 255
    path.write_bytes(encode_h264(frames, fps=10, gop=4, crf=1))
    return path


def test_time_runs_forwards_and_the_square_is_the_middle(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4")
    moving = np.zeros((12, 32, 48), bool)
    moving[3, :, 8:16] = True
    np.savez(tmp_path / "a.moving.npz", moving=np.packbits(moving, axis=-1), shape=np.array(moving.shape))
    with get_decoder()(str(video)) as reader:
        shown = choose_range(str(video), reader, 0.2, 0.8, 2)
        assert shown == range(2, 10)
        plan = plan_test(num_frames=4, sampling_rate=1, size=16, num_crops=1)
        cut = split_into_clips(np.array([0, 4]), len(shown), 4, 1)
        video_clips = read_video_clips(str(video), reader, shown, plan, cut)
    assert video_clips.frames.shape == (8, 16, 16, 3)
    # The bar lies outside the middle square.
    assert np.abs(video_clips.frames.numpy().astype(int) - 20 * np.arange(2, 10)[:, None, None, None]).max() <= 3
    assert video_clips.motion_mask is not None
    assert video_clips.motion_mask.any(dim=(1, 2)).tolist() == [False, True] + [False] * 6
    assert video_clips.motion_mask[1].any(dim=0).tolist() == [True] * 4 + [False] * 12
    assert video_clips.seconds(1) == pytest.approx(0.3)
    assert video_clips.clips(slice(1, 2))[0, 0, 0, 0, 0].item() == pytest.approx(120, abs=3)


def test_uneven_times_are_told_and_kept(tmp_path: Path) -> None:
    """Every sixth frame of a second and then all of them: labels, table, ranges and films have the file's times."""
    times = np.append(np.concatenate([np.arange(5) * 0.24, 1.2 + np.arange(8) * 0.04]), 1.52)
    rng = np.random.default_rng(0)
    path = tmp_path / "a.mp4"
    pixels = rng.integers(0, 256, (13, 16, 16, 3), dtype=np.uint8)
    path.write_bytes(encode_h264(pixels, fps=25, gop=4, crf=20, times=times))
    with get_decoder()(str(path)) as reader:
        assert reader.times == pytest.approx(times, abs=1e-4)
        assert choose_range("a", reader, 0, 99, 1) == range(13)
        assert choose_range("a", reader, 0.5, 0.74, 1) == range(2, 6)
        assert choose_range("a", reader, 1.2, 0.2, 1) == range(5, 10)
        shown = range(3, 13)
        plan = plan_test(num_frames=5, sampling_rate=1, size=16, num_crops=1)
        video_clips = read_video_clips(str(path), reader, shown, plan, split_into_clips(np.array([0, 5]), 10, 5, 1))
    assert [video_clips.stamp(frame) for frame in range(4)] == ["0.72 s", "0.96 s", "1.20 s", "1.24 s"]
    table = timeline_csv(video_clips, Timeline(np.ones(10), np.ones(10), np.array([0]))).decode().splitlines()
    assert [line.split(",")[:2] for line in table[1:4]] == [["3", "0.7200"], ["4", "0.9600"], ["5", "1.2000"]]
    film = video_clips.frames.numpy()
    with Image.open(io.BytesIO(gif_bytes(film, video_clips.times))) as gif:
        durations = []
        for number in range(gif.n_frames):
            gif.seek(number)
            durations.append(gif.info["duration"])
    assert durations == [240, 240] + [40] * 8
    with av.open(io.BytesIO(mp4_bytes(film, video_clips.times))) as file:
        stream = file.streams.video[0]
        assert float(stream.duration * stream.time_base) == pytest.approx(0.8, abs=1e-3)
        pace = [float(frame.pts * frame.time_base) for frame in file.decode(stream)]
    assert pace == pytest.approx(times[3:13] - times[3], abs=1e-3)


def test_too_few_frames_are_one_line(tmp_path: Path) -> None:
    video = str(write_video(tmp_path / "a.mp4"))
    with get_decoder()(video) as reader:
        with pytest.raises(UserError, match=r"1 frame from second 1\.1 on, expected at least 2"):
            choose_range(video, reader, 1.1, 5, 2)
        with pytest.raises(UserError, match="0 frames from second 9 on"):
            choose_range(video, reader, 9, 5, 2)
