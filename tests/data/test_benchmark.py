"""The loader benchmark adds up and says what is slow."""

from pathlib import Path

import pytest

from adamae.data.annotations import load_annotations
from adamae.data.benchmark import LoaderReport, measure_loader
from adamae.data.dataset import pretrain_dataset
from adamae.errors import UserError


def test_parts_are_measured(videos: Path) -> None:
    dataset = pretrain_dataset(load_annotations(videos), num_frames=8, sampling_rate=2, size=32, num_sample=2)
    report = measure_loader(dataset, num_videos=8, batch_size=3)
    assert report.bad == 2
    assert report.clips == 12
    assert list(report.seconds) == ["opening", "seeking", "decoding", "resizing", "collating"]
    assert all(seconds > 0 for part, seconds in report.seconds.items() if part != "decoding")
    assert sum(report.shares.values()) == pytest.approx(1)
    assert report.clips_per_second > 0


def test_the_table_names_the_slow_part() -> None:
    seconds = {"opening": 0.001, "seeking": 0.006, "decoding": 0.002, "resizing": 0.0005, "collating": 0.0005}
    text = LoaderReport(180.0, 100.0, 2, seconds, clips=64, bad=1).render()
    assert "180.0 clips/s with 2 workers" in text
    assert "100.0 clips/s per core" in text
    assert "seeking         6.00   60.0%" in text
    assert "slowest: seeking; re-encode with a key frame" in text
    assert "1 videos could not be read" in text


def test_nothing_to_measure(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"nothing")
    dataset = pretrain_dataset(load_annotations(tmp_path), num_frames=8, sampling_rate=2, size=32)
    with pytest.raises(UserError, match="none of 4 videos can be read"):
        measure_loader(dataset, num_videos=4)
