"""What lies in a folder that may not be entered is named in one line, by every command."""

from __future__ import annotations

from pathlib import Path

import pytest

from adamae.cli import main as cli
from adamae.data.annotations import Annotations
from adamae.data.dataset import pretrain_dataset
from tests.data.conftest import encode


@pytest.mark.parametrize(
    "words",
    [
        "scan CLOSED/train.csv",
        "scan CLOSED/videos",
        "pretrain --data_path CLOSED/{00..01}.tar --output_dir OPEN/run",
        "pretrain --data_path OPEN/train.csv --output_dir OPEN/run --config CLOSED/a.yaml",
        "finetune --data_path CLOSED/videos --output_dir OPEN/run --model vit_tiny_patch16_224",
        "prepare folder CLOSED/videos -o OPEN/out",
        "prepare folder OPEN -o CLOSED/out",
        "pack CLOSED/train.csv -o OPEN/out",
        "synthesize CLOSED/out --videos_per_class 1",
    ],
)
def test_one_line_names_it(words: str, closed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words.replace("CLOSED", str(closed)).replace("OPEN", str(tmp_path)).split()) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"adamae: error: {closed}/")
    assert line.endswith(": cannot be read (Permission denied)")


def test_it_is_one_bad_video_among_others(closed: Path, tmp_path: Path) -> None:
    """Also if it is the first, beside which motion masks are looked for."""
    good = encode(tmp_path / "a.mp4", 8)
    videos = Annotations.of([str(closed / "a.mp4"), str(good), str(good)])
    dataset = pretrain_dataset(videos, num_frames=4, sampling_rate=1, size=32)
    assert not dataset.motion_masks
    sample = dataset[0, 0]
    assert [bad["path"] for bad in sample["bad"]] == [str(closed / "a.mp4")] * len(sample["bad"]) != []
