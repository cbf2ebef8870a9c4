"""The loader benchmark adds up, says what is slow and how many cores a GPU needs."""

from pathlib import Path

import pytest

from adamae.benchmark.loader import LoaderReport, measure_loader
from adamae.benchmark.loader_parts import PARTS
from adamae.data.annotations import load_annotations
from adamae.data.dataset import pretrain_dataset
from adamae.errors import UserError


def test_parts_are_measured(videos: Path) -> None:
    dataset = pretrain_dataset(
        load_annotations(videos), num_frames=8, sampling_rate=2, size=32, num_sample=2, flip=True
    )
    report = measure_loader(dataset, num_videos=8, batch_size=3)
    assert report.bad == 2
    assert report.clips == 12
    assert tuple(report.seconds) == PARTS
    # Two of them are differences, which noise may make nothing of.
    assert all(report.seconds[part] > 0 for part in ("opening", "seeking", "augmenting", "collating"))
    assert sum(report.shares.values()) == pytest.approx(1)
    assert report.clips_per_second > 0


def made_up(**seconds: float) -> LoaderReport:
    return LoaderReport(180.0, 100.0, 2, dict.fromkeys(PARTS, 0.0005) | seconds, clips=64, bad=1, gpu_rate=1050.0)


def test_the_table_says_what_to_change_first_and_how_many_cores_it_takes() -> None:
    text = made_up(opening=0.003, seeking=0.0025, decoding=0.0025).render()
    assert "180.0 clips/s with 2 workers" in text
    assert "100.0 clips/s per core" in text
    assert "opening         3.00   31.6%" in text
    # Neither takes most by itself, but the same thing helps both.
    assert "seeking and decoding take 53% of the time: re-encode the videos with adamae prepare" in text
    assert "1050 clips/s for a GPU take 11 such cores" in text
    assert "1 video could not be read" in text


@pytest.mark.parametrize(
    ("part", "remedy"),
    [
        ("opening", "opening takes 44% of the time: store the videos on a local disk"),
        ("resizing", "resizing takes 44% of the time: re-encode the videos with adamae prepare to a short side"),
        ("augmenting", "augmenting takes 44% of the time: disable --flip"),
        ("collating", "collating takes 44% of the time: use smaller batches"),
    ],
)
def test_every_part_has_a_remedy(part: str, remedy: str) -> None:
    assert made_up(**{part: 0.002}).advice.startswith(remedy)


def test_nothing_to_measure(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"nothing")
    dataset = pretrain_dataset(load_annotations(tmp_path), num_frames=8, sampling_rate=2, size=32)
    with pytest.raises(UserError, match="none of 4 videos can be read"):
        measure_loader(dataset, num_videos=4)
