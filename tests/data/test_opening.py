"""What a scan knows saves decoding, and changes no clip."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from adamae.data.annotations import load_annotations
from adamae.data.dataset import PretrainDataset, pretrain_dataset
from adamae.data.decoding import get_decoder, installed_decoders, pyav
from adamae.data.scanning.scan import scan
from adamae.data.views import VideoViews, plan_test
from adamae.errors import UserError
from tests.data.conftest import MakeVideo, encode


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """A video that does not tell its number of frames, and one that does."""
    encode(tmp_path / "mpeg2.mpg", 30, codec="mpeg2video")
    encode(tmp_path / "h264.mp4", 20)
    (tmp_path / "list.csv").write_text("mpeg2.mpg\nh264.mp4\n")
    return tmp_path / "list.csv"


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows with each pass over a file from its first packet."""
    begun: list[str] = []
    plain = pyav.PyAVReader._in_sequence

    def watched(reader: pyav.PyAVReader) -> object:
        begun.append(reader._path)
        return plain(reader)

    monkeypatch.setattr(pyav.PyAVReader, "_in_sequence", watched)
    return begun


def clips(listed: Path) -> PretrainDataset:
    return pretrain_dataset(load_annotations(listed), num_frames=4, sampling_rate=3, size=32)


def test_known_counts_save_a_pass_over_the_file(listed: Path, passes: list[str]) -> None:
    before = [clips(listed)[epoch, row]["clip"] for epoch in range(3) for row in range(2)]
    assert passes == [str(listed.with_name("mpeg2.mpg"))] * 2 * 3
    scan(listed)
    passes.clear()
    after = [clips(listed)[epoch, row]["clip"] for epoch in range(3) for row in range(2)]
    assert all(map(torch.equal, before, after))
    assert len(passes) == 3
    passes.clear()
    VideoViews(load_annotations(listed), plan_test(num_frames=4, sampling_rate=2, size=32))[0]
    assert len(passes) == 1


def test_a_video_that_changed_is_counted_again(listed: Path, passes: list[str]) -> None:
    scan(listed)
    encode(listed.with_name("mpeg2.mpg"), 11, codec="mpeg2video")
    passes.clear()
    assert clips(listed).open(0).num_frames == 11
    assert len(passes) == 1


def test_a_count_is_not_believed_against_proof(make_video: MakeVideo) -> None:
    with pyav.open_video(str(make_video("a.mp4", 12)), num_frames=3) as reader:
        assert reader.num_frames == 12


@pytest.mark.parametrize("name", installed_decoders())
def test_all_back_ends_may_be_told(name: str, make_video: MakeVideo) -> None:
    try:
        open_video = get_decoder(name)
    except UserError as error:
        pytest.skip(str(error))
    with open_video(str(make_video("a.mp4", 12)), num_frames=12) as reader:
        assert reader.num_frames == 12


def test_damaged_counts_are_told_in_one_line(listed: Path) -> None:
    listed.with_name("list.frames.npz").write_bytes(b"PK nothing")
    with pytest.raises(UserError, match=r"list\.frames\.npz: not a frame count file of adamae scan"):
        clips(listed)
