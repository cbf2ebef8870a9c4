"""``adamae bench``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adamae.cli.main import main
from adamae.errors import UserError


def test_a_step_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = """--model adamae_tiny --encoder_depth 1 --decoder_depth 1 --input_size 32 --patch_size 8 --num_frames 4
        --mask_ratio 0.75 --rounds 1 --device cpu --json"""
    assert main(["bench", "step", *sizes.split()]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["clips_per_second"] > 0
    assert {"sampler", "encoder", "decoder"} <= report["parts"].keys()


@pytest.mark.parametrize("place", [".", "video.txt/step.png"])
def test_a_chart_that_cannot_be_written_is_refused_before_the_measurement(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "video.txt").write_text("no folder")
    monkeypatch.setattr("adamae.bench.bench_step", lambda *_: pytest.fail("measured"))
    plot = tmp_path / place
    assert main(["bench", "step", "--plot", str(plot)]) == 2
    assert capsys.readouterr().err.startswith(f"adamae: error: {plot}: cannot be written (")


def test_the_report_is_printed_before_its_chart_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise UserError("the disk is full")

    monkeypatch.setattr("adamae.benchmark.step_picture.write_step_picture", full)
    words = "--model adamae_tiny --encoder_depth 1 --decoder_depth 1 --input_size 32 --patch_size 8 --num_frames 4"
    plot = ["--mask_ratio", "0.75", "--predict", "h100", "--plot", str(tmp_path / "step.png")]
    assert main(["bench", "step", *words.split(), *plot]) == 2
    printed = capsys.readouterr()
    assert "clips/s" in printed.out
    assert printed.err == "adamae: error: the disk is full\n"


def test_a_list_is_measured(videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = "--num_videos 4 --batch_size 2 --num_workers 0 --num_frames 4 --sampling_rate 1 --input_size 32"
    assert main(["bench", "loader", "--data_path", str(videos / "train.csv"), *options.split()]) == 0
    told = capsys.readouterr().out
    assert "of the time: " in told
    assert "1000 clips/s for a GPU take" in told
    assert main(["bench", "loader", str(videos / "train.csv"), *options.split(), "--gpu_rate", "50", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["gpu_rate"] == 50
    assert report["clips"] == 4


def test_views_are_measured(videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = "--num_videos 2 --num_frames 4 --sampling_rate 1 --input_size 32 --test_num_segment 2".split()
    assert main(["bench", "eval", str(videos), *options]) == 0
    assert "6 views of each of 2 videos, one core" in capsys.readouterr().out
    assert main(["bench", "eval", str(videos), *options, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["videos"], report["views"]) == (2, 6)
    assert report["decoding"] > 0 and report["others"] > 0 and report["views_per_second"] > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["stap"], "adamae bench: unknown subject 'stap'; did you mean step?"),
        (["loader"], "--data_path is missing: expected a list file, a folder of videos or images, or shards"),
        (["step", "--lr", "1"], "unknown option --lr; adamae bench step --help lists them"),
    ],
)
def test_mistakes(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *words]) == 2
    assert capsys.readouterr().err == f"adamae: error: {message}\n"
