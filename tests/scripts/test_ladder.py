"""The reference implementation's way and ours make the same clips, and the table of what lies between adds up."""

import json
from importlib.util import find_spec
from pathlib import Path

import ladder
import numpy as np
import pytest
import torch
from ladder import Ladder, Rung, compare_with_reference
from reference_clips import PlainVideo, crop_with_pillow, standardise

from adamae.data.annotations import Annotations
from adamae.data.augmentation import Box, CropPlan, crop
from adamae.data.dataset import pretrain_dataset
from adamae.data.decoding import DecodeError, pyav
from adamae.data.decoding.packets import DemuxedPackets
from adamae.layers.pixels import PixelNormalisation
from tests.data.conftest import MakeVideo


def test_pillow_and_torch_crop_alike(rng: np.random.Generator) -> None:
    frames = rng.integers(0, 256, (2, 45, 70, 3), dtype=np.uint8)
    plan = CropPlan(Box(3, 8, 40, 31), 24, 28)
    ours, theirs = plan.finish(crop(frames, plan.box)), crop_with_pillow(frames, plan)
    assert ours.shape == theirs.shape == (2, 24, 28, 3)
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_floats_are_those_that_the_device_makes_of_bytes(rng: np.random.Generator) -> None:
    clip = rng.integers(0, 256, (4, 8, 6, 3), dtype=np.uint8)
    expected = PixelNormalisation()(torch.from_numpy(clip)).permute(3, 0, 1, 2)
    assert torch.allclose(standardise(clip), expected, atol=1e-5)


@pytest.mark.skipif(find_spec("decord") is None, reason="decord is not installed")
def test_all_ways_make_the_same_clip(make_video: MakeVideo) -> None:
    path = str(make_video("a.mp4", 40, g="12", bf="2"))
    dataset = pretrain_dataset(Annotations.of([path]), num_frames=8, sampling_rate=3, size=40)
    *as_floats, by_ffmpeg, as_bytes = [make(dataset, 0, 1)[0] for _, make in ladder._ways()]
    assert np.array_equal(by_ffmpeg, as_bytes)
    assert torch.equal(torch.from_numpy(as_bytes), dataset[0, 0]["clip"][0])
    expected = standardise(as_bytes)
    for clip in as_floats:
        # In units of one grey level, which is about 0.017.
        assert (clip - expected).abs().mean() * 255 * 0.225 < 2


@pytest.mark.skipif(find_spec("decord") is None, reason="decord is not installed")
def test_every_way_is_timed_on_what_all_of_them_can_read(make_video: MakeVideo) -> None:
    good, bad = make_video("a.mp4", 20), make_video("b.mp4", 20)
    bad.write_bytes(b"nothing")
    dataset = pretrain_dataset(Annotations.of([str(good), str(bad)]), num_frames=4, sampling_rate=2, size=32)
    found = compare_with_reference(dataset, num_videos=2, rounds=1)
    assert (found.videos, found.bad) == (1, 1)
    assert len(found.rungs) == 7
    assert all(rung.cpu > 0 and rung.wall > 0 for rung in found.rungs)
    assert "1 videos could not be read in one of the ways" in found.render()


def test_the_row_without_tables_leaves_packets_to_ffmpeg(make_video: MakeVideo) -> None:
    path = str(make_video("a.mp4", 20))
    with ladder.open_by_ffmpeg(path) as without, pyav.open_video(path) as with_tables:
        assert isinstance(without._packets, DemuxedPackets)
        assert not isinstance(with_tables._packets, DemuxedPackets)


def test_the_table_tells_what_each_step_gains() -> None:
    rungs = [
        Rung("theirs", 0.06, 0.08),
        Rung("less", 0.03, 0.04),
        Rung("ours", 0.02, 0.02),
        Rung("several", 0.01, 0.01),
    ]
    found = Ladder(rungs, 5, 0)
    assert found.ratio == pytest.approx(3)
    assert found.saved_by_tables == pytest.approx(1 / 3)
    assert "tables save 33.3 %" in found.render()
    assert [row[3:] for row in found.rows()] == [
        ("1.00", "1.00"),
        ("2.00", "2.00"),
        ("1.50", "3.00"),
        ("2.00", "6.00"),
    ]
    assert "3.00 times the reference implementation, one clip for each of 5 videos" in found.render()


def test_the_plain_decoder_tells_what_it_cannot_read(make_video: MakeVideo, tmp_path: Path) -> None:
    with PlainVideo(str(make_video("a.mp4", 20))) as video:
        assert video.num_frames == 20
        with pytest.raises(DecodeError, match="1 frames are not where the frame rate says"):
            video.read([3, 20])
    (tmp_path / "b.mp4").write_bytes(b"nothing")
    with pytest.raises(DecodeError, match="not a readable video"):
        PlainVideo(str(tmp_path / "b.mp4"))


@pytest.mark.skipif(find_spec("decord") is None, reason="decord is not installed")
def test_the_command(videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(videos), *"--num_videos 2 --num_workers 0 --num_frames 4 --sampling_rate 1 --input_size 32".split()]
    assert ladder.main(words) == 0
    told = capsys.readouterr().out
    assert "reference implementation: decord" in told
    assert "times the reference implementation, one clip for each of" in told
    assert ladder.main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ratio"] == found["rungs"][0]["cpu"] / found["rungs"][-2]["cpu"]
