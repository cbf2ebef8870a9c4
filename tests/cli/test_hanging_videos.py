"""Training and scoring with a video that never comes: a pipe into which nobody writes."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from adamae.cli.main import main
from tests.cli.test_pretrain import losses, pretrain

LIMIT = ["--video_timeout", "0.5", "--num_workers", "1", "--max_bad_fraction", "0.1"]


@pytest.fixture(scope="module")
def hanging(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the videos, one of which hangs."""
    folder = tmp_path_factory.mktemp("hanging") / "set"
    shutil.copytree(videos, folder)
    wrong = folder / (folder / "train.csv").read_text().split()[0]
    wrong.unlink()
    os.mkfifo(wrong)
    return folder


def bad_videos(output: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (output / "bad_videos.jsonl").read_text().splitlines()]


def test_pretraining_goes_on_and_a_resumed_run_does_not_open_it_again(
    hanging: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pretrain(hanging, tmp_path / "whole", *LIMIT) == 0
    (found,) = bad_videos(tmp_path / "whole")
    assert (found["index"], found["quarantined"]) == (0, True)
    assert found["reason"] == "took longer than 0.5 seconds (--video_timeout)"
    assert pretrain(hanging, tmp_path / "paused", *LIMIT, "--max_steps", "3") == 0
    # Without a limit the resumed run would wait for ever if it opened the pipe.
    assert pretrain(hanging, tmp_path / "paused", *LIMIT, "--video_timeout", "0") == 0
    assert bad_videos(tmp_path / "paused") == [found]
    assert losses(tmp_path / "paused") == losses(tmp_path / "whole")


def test_too_many_end_the_run_in_one_line(hanging: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pretrain(hanging, tmp_path / "run", *LIMIT, "--max_bad_fraction", "0.01") == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert "1 of 12 files could not be read, more than --max_bad_fraction 0.01 allows" in told
    assert told.endswith("took longer than 0.5 seconds (--video_timeout)")


def test_fine_tuning_counts_it_among_the_videos_without_a_score(hanging: Path, tmp_path: Path) -> None:
    (hanging / "all.csv").write_text((hanging / "train.csv").read_text())
    words = f"""finetune --data_path {hanging} --eval_data_path {hanging / "all.csv"} --output_dir {tmp_path / "run"}
        --model vit_tiny_patch16_224 --encoder_embed_dim 16 --encoder_num_heads 2 --encoder_depth 1 --patch_size 8
        --input_size 32 --num_frames 4 --sampling_rate 1 --batch_size 4 --epochs 1 --device cpu --test_num_segment 2"""
    assert main([*words.split(), *LIMIT]) == 0
    (found,) = bad_videos(tmp_path / "run")
    assert (found["index"], found["quarantined"]) == (0, True)
    summary = json.loads((tmp_path / "run" / "test" / "scores.json").read_text())
    assert [(video["row"], video["reason"]) for video in summary["unscored_videos"]] == [
        (0, "took longer than 0.5 seconds (--video_timeout)")
    ]
    assert len((tmp_path / "run" / "test" / "scores.csv").read_text().splitlines()) == 1 + 12
