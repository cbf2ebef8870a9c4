"""``adamae pack``, and shards in place of lists in every command."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adamae.cli.main import main
from adamae.training.run_logger import TIMING
from tests.cli.test_finetune import RUN, SIZES
from tests.cli.test_pretrain import TINY
from tests.evaluation.tiny import write_classifier, write_pretrainer, write_videos

FAST = "--sampling_rate 2 --device cpu".split()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven videos of which one is damaged, their list, the same in shards, and checkpoints."""
    folder = tmp_path_factory.mktemp("place")
    write_videos(folder)
    write_classifier(folder / "finetuned.safetensors")
    write_pretrainer(folder / "pretrained.safetensors")
    words = "--videos_per_shard 2 --no_shuffle".split()
    assert main(["pack", str(folder / "test.csv"), "-o", str(folder / "shards"), *words]) == 0
    return folder


@pytest.fixture(scope="module")
def parted(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The twelve training and two validation videos of the synthetic set, in shards."""
    out = tmp_path_factory.mktemp("parted") / "shards"
    assert main(["pack", str(videos), "-o", str(out), "--videos_per_shard", "3", "--workers", "2"]) == 0
    return out


def test_pack_tells_what_it_wrote(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["pack", str(videos / "train.csv"), "-o", str(tmp_path / "out"), "--shard_size", "20kB"]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"{tmp_path}/out: 12 videos in ")
    assert main(words) == 0
    assert capsys.readouterr().out == told.rstrip() + ", all of them already complete\n"
    (tmp_path / "list.csv").write_text(f"{videos}/train/left/00000.mp4 0\ngone.mp4 1\n")
    words = ["pack", str(tmp_path / "list.csv"), "-o", str(tmp_path / "two")]
    assert main(words) == 2
    told = capsys.readouterr().err
    assert "1 of 2 videos cannot be packed" in told and told.count("\n") == 1
    assert main([*words, "--max_bad_fraction", "0.5"]) == 0
    assert f"1 skipped, see {tmp_path}/two/bad_videos.jsonl; the first is {tmp_path}/gone.mp4: no such file" in (
        capsys.readouterr().out
    )


def test_packing_that_is_stopped_says_how_to_go_on(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adamae.data.shards.data_set.pack", lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM))
    assert main(["pack", str(videos), "-o", str(tmp_path / "out")]) == 130
    told = "adamae pack: interrupted; finished shards are kept, run the same command to resume\n"
    assert capsys.readouterr().err == told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "the following arguments are required: LIST, --out/-o"),
        ("{list} -o {out} --shard_size 1XB", "--shard_size: got '1XB', expected a size such as 1GB, 500MB or 10737"),
        ("{list} -o {out} --shard_size 0", "--shard_size: got '0', expected a size"),
        ("{list} -o {out} --videos_per_shard 0", "got 0, expected an integer at least 1"),
        ("{out}/none.csv -o {out}", "none.csv: no such list or folder"),
        ("{list} -o {videos}", "expected a new or empty folder"),
    ],
)
def test_mistakes(words: str, message: str, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = {"list": videos / "train.csv", "out": tmp_path / "out", "videos": videos}
    assert main(["pack", *words.format(**places).split()]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_pretraining_goes_on_with_shards_as_if_never_interrupted(parted: Path, tmp_path: Path) -> None:
    def log(output: Path) -> list[dict[str, object]]:
        records = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
        return [{name: value for name, value in record.items() if name not in TIMING} for record in records]

    words = ["--data_path", f"{parted}/train/{{000000..000003}}.tar", "--shard_window", "2", *TINY]
    assert main(["pretrain", *words, "--output_dir", str(tmp_path / "whole")]) == 0
    assert main(["pretrain", *words, "--output_dir", str(tmp_path / "parts"), "--max_steps", "4"]) == 0
    assert main(["pretrain", *words, "--output_dir", str(tmp_path / "parts"), "--num_workers", "1"]) == 0
    assert log(tmp_path / "parts") == log(tmp_path / "whole")
    assert sum(record["kind"] == "step" for record in log(tmp_path / "whole")) == 6


def test_fine_tuning_finds_the_splits(parted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--input_size", "32", "--num_frames", "4", "--sampling_rate", "1", *SIZES, *RUN, "--epochs", "1"]
    assert main(["finetune", "--data_path", str(parted), "--output_dir", str(tmp_path), *words]) == 0
    told = capsys.readouterr().err
    assert "12 training, 2 validation and 2 test videos, 2 classes" in told
    assert "no list for test: that of val is used for both" in told
    assert json.loads((tmp_path / "test" / "scores.json").read_text())["scored"] == 2


def test_scores_are_those_of_the_list(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def evaluate(source: Path) -> dict[str, Any]:
        words = ["--data_path", str(source), *FAST, "--num_workers", "0", "--json"]
        assert main(["evaluate", str(place / "finetuned.safetensors"), *words]) == 0
        told = capsys.readouterr()
        assert "bad.mp4: not a readable video" in told.err
        found: dict[str, Any] = json.loads(told.out)
        found["unscored_videos"] = [video["row"] for video in found["unscored_videos"]]
        return found | {"list": None}

    assert evaluate(place / "shards") == evaluate(place / "test.csv")


def test_features_are_those_of_the_list(place: Path, tmp_path: Path) -> None:
    found = []
    for name in ("test.csv", "shards"):
        words = [str(place / "pretrained.safetensors"), str(place / name), "-o", str(tmp_path / f"{name}.npz"), *FAST]
        assert main(["extract", *words]) == 0
        with np.load(tmp_path / f"{name}.npz") as file:
            found.append({key: file[key] for key in file if key not in ("path", "unread_path", "about")})
    assert all(np.array_equal(found[0][key], found[1][key]) for key in found[0])


def test_probes_are_those_of_the_lists(
    place: Path, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pack", str(videos), "-o", str(tmp_path / "shards"), "--no_shuffle"]) == 0
    capsys.readouterr()
    reports = []
    for source in (videos, tmp_path / "shards"):
        words = ["--data_path", str(source), *FAST, "--num_workers", "0", "--json", "--probe_tokens", "0"]
        assert main(["probe", str(place / "pretrained.safetensors"), *words]) == 0
        reports.append(json.loads(capsys.readouterr().out))
    assert reports[0] == reports[1]


def test_predictions_for_all_videos_of_a_shard(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shard = str(place / "shards" / "000000.tar")
    tops = []
    for videos in ([shard], [str(place / name) for name in ("a/0.mp4", "b/0.mp4")]):
        assert main(["predict", str(place / "finetuned.safetensors"), *videos, *FAST]) == 0
        found = json.loads(capsys.readouterr().out)
        tops.append([entry["top"] for entry in found])
        if videos == [shard]:
            assert [entry["video"] for entry in found] == [f"{shard}/a/0.mp4", f"{shard}/b/0.mp4"]
    assert tops[0] == tops[1]


def test_both_ways_of_loading_are_measured(place: Path, parted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = "--num_videos 4 --batch_size 2 --num_workers 0 --num_frames 4 --sampling_rate 1 --input_size 32"
    assert main(["bench", "loader", "--data_path", str(parted), *options.split()]) == 0
    assert " clips/s per core, over 4 clips" in capsys.readouterr().out
    options = "--num_videos 2 --num_frames 4 --sampling_rate 2 --input_size 16 --json"
    assert main(["bench", "eval", str(place / "shards"), *options.split()]) == 0
    assert json.loads(capsys.readouterr().out)["videos"] == 2
