"""``adamae probe``, and ``adamae bench eval``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adamae.cli.main import main
from tests.evaluation.tiny import write_pretrainer, write_videos

FAST = "--sampling_rate 2 --num_workers 0 --device cpu".split()


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A pre-trained checkpoint."""
    return str(write_pretrainer(tmp_path_factory.mktemp("probe") / "pretrained.safetensors"))


def probe(network: str, videos: Path, *words: str) -> int:
    return main(["probe", network, "--data_path", str(videos), *FAST, *words])


def test_a_table_of_probes(network: str, videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert probe(network, videos) == 0
    told = capsys.readouterr()
    assert [line.split()[0] for line in told.out.splitlines()] == ["probe", "knn", "linear", "attentive"]
    assert "12 training and 2 test videos of 2 classes" in told.err


def test_json_repeats_itself_and_knows_random_weights(
    network: str, videos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reports = []
    for words in ([], [], ["--random_weights"]):
        assert probe(network, videos, "--json", "--probe_tokens", "0", *words) == 0
        reports.append(json.loads(capsys.readouterr().out))
    assert reports[0] == reports[1]
    assert [report["weights"] for report in reports] == ["checkpoint", "checkpoint", "random"]
    assert list(reports[0]["probes"]) == ["knn", "linear"]
    assert reports[0]["training_videos"] == 12


def test_a_run_of_ours_tells_its_clips(tmp_path: Path, videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = """--model adamae_tiny --encoder_depth 1 --decoder_depth 1 --input_size 32 --patch_size 8 --num_frames 4
        --sampling_rate 2 --mask_ratio 0.75 --max_steps 1 --batch_size 2 --num_workers 0 --device cpu"""
    run = str(tmp_path / "run")
    assert main(["pretrain", "--data_path", str(videos / "train.csv"), "--output_dir", run, *sizes.split()]) == 0
    words = ["--data_path", str(videos), "--num_workers", "0", "--device", "cpu", "--probe_tokens", "0"]
    assert main(["probe", run, *words]) == 0
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.endswith("1 clip x 1 crop per video, 4 frames with stride 2, 32x32 pixels")


def test_the_test_list_is_what_is_tested(
    network: str, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twelve training videos, of which five are tested under their own labels, and three are validated under others."""
    rows = (videos / "train.csv").read_text().splitlines()
    paths, labels = zip(*(row.rsplit(" ", 1) for row in rows), strict=True)
    exchanged = dict(zip(sorted(set(labels)), sorted(set(labels), reverse=True), strict=True))
    for name, count, shown in (("train", 12, labels), ("test", 5, labels), ("val", 3, [exchanged[x] for x in labels])):
        listed = zip(paths[:count], shown, strict=False)
        (tmp_path / f"{name}.csv").write_text("".join(f"{path} {label}\n" for path, label in listed))
    words = ["--data_root", str(videos), "--k", "1", "--probe_tokens", "0", "--json"]
    assert probe(network, tmp_path, *words) == 0
    told = capsys.readouterr()
    assert "12 training and 5 test videos of 2 classes" in told.err
    report = json.loads(told.out)
    assert (report["training_videos"], report["test_videos"]) == (12, 5)
    # A video is its own nearest neighbour.
    assert (report["probes"]["knn"]["scored"], report["probes"]["knn"]["top1"]) == (5, 100)


def test_a_list_to_test_on(network: str, videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--eval_data_path", str(videos / "train.csv"), "--k", "1", "--json"]
    assert main(["probe", network, "--data_path", str(videos / "train.csv"), *FAST, *words]) == 0
    # A video is its own nearest neighbour.
    assert json.loads(capsys.readouterr().out)["probes"]["knn"]["top1"] == 100


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ("0 1", "3 4", "expected less than 2, the number of classes"),
        ("left right", "cat dog", "none of its 2 classes (cat, dog) is among the 2 of training (left, right)"),
        ("0 2", "0 2", "train.csv: 1 of 3 classes have no training video: 1; expected at least one for each"),
        ("0 1", "", "test.csv: the list is empty"),
    ],
)
def test_mistakes_are_one_line(
    network: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], train: str, test: str, message: str
) -> None:
    write_videos(tmp_path)
    (tmp_path / "classes.txt").unlink()
    for name, labels in (("train.csv", train), ("test.csv", test)):
        (tmp_path / name).write_text("".join(f"a/1.mp4 {label}\n" for label in labels.split()))
    assert probe(network, tmp_path) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("adamae: error: ") and message in line


def test_no_data_set(network: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probe", network]) == 2
    assert "--data_path is missing: expected a folder with train.csv and test.csv" in capsys.readouterr().err


SMALL = "--num_frames 4 --sampling_rate 1 --input_size 16 --num_videos 3".split()


def test_bench_eval(videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "eval", str(videos / "train.csv"), *SMALL]) == 0
    assert "15 views of each of 3 videos" in capsys.readouterr().out
    assert main(["bench", "eval", str(videos / "train.csv"), *SMALL, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["views"] == 15
    assert report["videos"] == 3 and report["views_per_second"] > 0


def test_bench_eval_of_nothing_readable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"bad")
    (tmp_path / "list.csv").write_text("bad.mp4\n")
    assert main(["bench", "eval", str(tmp_path / "list.csv")]) == 2
    assert "none of 1 video can be read" in capsys.readouterr().err
