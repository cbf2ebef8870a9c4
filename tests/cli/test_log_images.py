"""``adamae pretrain --log_images_every`` changes nothing but what one sees."""

from __future__ import annotations

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from adamae.cli.main import main
from tests.cli.test_pretrain import TINY, losses, pretrain


def images(run: Path) -> list[int]:
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    tags = events.Tags()["images"]
    return [entry.step for entry in events.Images("panels/clip_0")] if tags else []


def test_pictures_change_no_number_and_can_be_switched_between_pauses(videos: Path, tmp_path: Path) -> None:
    assert pretrain(videos, tmp_path / "without") == 0
    assert pretrain(videos, tmp_path / "with", "--max_steps", "3") == 0
    assert pretrain(videos, tmp_path / "with", "--log_images_every", "2") == 0
    assert losses(tmp_path / "with") == losses(tmp_path / "without")
    assert images(tmp_path / "with") == [4, 6]
    assert images(tmp_path / "without") == []


def test_panels_of_a_network_that_selects_frames_show_the_frames_that_it_takes(videos: Path, tmp_path: Path) -> None:
    assert pretrain(videos, tmp_path / "run", "--frame_selection", "motion", "--log_images_every", "2") == 0
    assert images(tmp_path / "run") == [1, 2, 4, 6]


def test_addresses_of_shards_are_read_as_they_are(videos: Path, tmp_path: Path) -> None:
    assert main(["pack", str(videos / "train.csv"), "-o", str(tmp_path / "shards"), "--videos_per_shard", "6"]) == 0
    shards = f"file://{tmp_path}/shards/{{000000..000001}}.tar"
    words = ["pretrain", "--data_path", shards, "--output_dir", str(tmp_path / "run"), *TINY]
    assert main([*words, "--log_images_every", "3"]) == 0
    assert images(tmp_path / "run") == [1, 3, 6]


def test_a_wrong_list_is_told_before_anything_is_written(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--log_images_every", "2", "--log_images_path", "nowhere"]
    assert pretrain(videos, tmp_path / "run", *words) == 2
    assert "nowhere: no such list or folder" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_option_is_pretrainings_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["finetune", "--log_images_every", "2"]) == 2
    assert "unknown option --log_images_every" in capsys.readouterr().err
