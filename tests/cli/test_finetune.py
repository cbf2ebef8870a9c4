"""``adamae finetune`` from the command line to the files that it leaves."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from adamae.checkpoints.formats import open_checkpoint
from adamae.checkpoints.run_checkpoint import Checkpoint
from adamae.checkpoints.store import CheckpointStore
from adamae.cli.main import main
from adamae.training.run_logger import TIMING
from tests.launching import ROOT, launch

CLIP = "--input_size 32 --num_frames 4 --sampling_rate 1".split()
SIZES = "--model vit_tiny_patch16_224 --encoder_embed_dim 16 --encoder_num_heads 2 --encoder_depth 2".split()
SIZES += ["--patch_size", "8"]
RUN = "--batch_size 4 --num_workers 0 --epochs 3 --log_every 1 --lr 0.1 --device cpu --test_num_segment 2".split()
# Everything random at once.
WHOLE = "--num_sample 2 --mixup_mode elem --drop_path 0.2 --drop 0.1 --fc_drop_rate 0.1 --model_ema".split()
WHOLE += ["--model_ema_decay", "0.8"]


@pytest.fixture(scope="module")
def motion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighteen training videos of three motions, and six each for validation and test."""
    out = tmp_path_factory.mktemp("motion") / "set"
    options = "--videos_per_class 6 --val_per_class 2 --test_per_class 2 --classes left,right,up --size 32 --frames 8"
    assert main(["synthesize", str(out), *options.split(), "--workers", "0"]) == 0
    return out


@pytest.fixture(scope="module")
def pretrained(motion: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("pretrained")
    line = """--model adamae_tiny --encoder_embed_dim 16 --encoder_num_heads 2 --encoder_depth 2 --decoder_embed_dim 16
        --decoder_num_heads 2 --decoder_depth 1 --patch_size 8 --mask_ratio 0.75 --max_steps 1 --batch_size 4
        --num_workers 0 --device cpu"""
    assert main(["pretrain", "--data_path", str(motion), "--output_dir", str(output), *CLIP, *line.split()]) == 0
    return output


def finetune(motion: Path, output: Path, *words: str) -> int:
    return main(["finetune", "--data_path", str(motion), "--output_dir", str(output), *CLIP, *RUN, *words])


def log(output: Path) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in record.items() if name not in TIMING} for record in records]


def scores(output: Path) -> dict[str, Any]:
    return {
        name: value
        for name, value in json.loads((output / "test" / "scores.json").read_text()).items()
        if name != "checkpoint"
    }


def weights(folder: Path) -> dict[str, torch.Tensor]:
    newest = CheckpointStore(folder).newest()
    assert newest is not None
    return newest.weights()


@pytest.fixture(scope="module")
def whole(motion: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run from random weights that nobody disturbed."""
    output = tmp_path_factory.mktemp("whole")
    assert finetune(motion, output, *SIZES, *WHOLE) == 0
    return output


def test_a_run_leaves_what_it_promises(whole: Path, motion: Path) -> None:
    assert {".lock", "log.jsonl", "options.yaml", "tensorboard", "checkpoints", "best", "test"} == {
        p.name for p in whole.iterdir()
    }
    lines = log(whole)
    epochs = [line for line in lines if line["kind"] == "epoch"]
    assert [line["step"] for line in lines if line["kind"] == "step"] == list(range(1, 13))
    for line in epochs:
        assert {
            "loss",
            "accuracy",
            "val_loss",
            "val_top1",
            "val_top5",
            "best_val_top1",
            "lr",
            "grad_norm",
        } <= line.keys()
        assert line["val_top5"] == 100.0
    assert epochs[-1]["best_val_top1"] == max(line["val_top1"] for line in epochs)
    summary = scores(whole)
    assert (summary["videos"], summary["scored"], summary["views"], summary["classes"]) == (6, 6, 6, 3)
    assert summary["list"] == str(motion / "test.csv")


def test_the_best_checkpoint_says_what_it_is(whole: Path) -> None:
    file = open_checkpoint(whole / "best")
    assert file.class_names == ("left", "right", "up")
    assert file.architecture.classes == 3
    assert (file.architecture.frames, file.architecture.size, file.architecture.patch) == (4, (32, 32), 8)
    assert (file.args["sampling_rate"], file.args["frame_sampling"]) == (1, "dense")
    meta = CheckpointStore(whole / "best").newest().meta  # type: ignore[union-attr]
    best = max((line for line in log(whole) if line["kind"] == "epoch"), key=lambda line: line["val_top1"])
    assert meta["validation"]["val_top1"] == best["val_top1"]


def test_the_average_is_kept_and_not_the_weights_of_the_step(motion: Path, tmp_path: Path) -> None:
    """The only epoch is the best; its last two checkpoints tell what the average is, by its formula."""
    words = "--model_ema --model_ema_decay 0.8 --aa none --epochs 1 --warmup_epochs 0".split()
    words += "--batch_size 9 --save_ckpt_steps 1 --test_num_segment 1 --test_num_crop 1".split()
    assert finetune(motion, tmp_path, *SIZES, *words) == 0
    before, last = (Checkpoint.open(tmp_path / "checkpoints" / f"step-0000000{step}") for step in (1, 2))
    average, stepped, kept = before.training()["companions"]["average"], last.weights(), weights(tmp_path / "best")
    assert kept.keys() == stepped.keys() >= average.keys()
    for name, value in average.items():
        torch.testing.assert_close(kept[name], 0.8 * value + 0.2 * stepped[name], rtol=1e-5, atol=1e-7)
    assert any((kept[name] - stepped[name]).abs().max() > 1e-3 for name in average)
    by_key = open_checkpoint(tmp_path, "model_ema").state
    assert by_key.keys() == kept.keys()
    assert all(torch.equal(by_key[name], kept[name]) for name in kept)


def test_evaluating_the_best_again_gives_the_same_score(
    whole: Path, motion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "--data_path",
        str(motion / "test.csv"),
        "--device",
        "cpu",
        "--num_workers",
        "0",
        "--test_num_segment",
        "2",
        # As the run's own test: the last digit depends on how many views go through the network at once.
        "--batch_size",
        "8",
    ]
    assert main(["evaluate", str(whole / "best"), *words, "--output_dir", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    again = json.loads((tmp_path / "scores.json").read_text())
    assert {name: again[name] for name in ("top1", "top5", "mean_class", "scored")} == {
        name: scores(whole)[name] for name in ("top1", "top5", "mean_class", "scored")
    }
    assert (tmp_path / "scores.csv").read_text() == (whole / "test" / "scores.csv").read_text()
    assert finetune(motion, whole, *SIZES, "--eval") == 0
    assert capsys.readouterr().out == told


def test_the_test_averages_logits_or_probabilities(
    whole: Path, motion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also of a test alone; validation, and with it the best checkpoint, is of logits in any case."""
    assert scores(whole)["averaged"] == "logits"
    words = [*SIZES, *WHOLE, "--max_steps", "4"]
    assert finetune(motion, tmp_path / "run", *words, "--softmax") == 0
    assert "6 views per video, probabilities averaged; results in" in capsys.readouterr().err
    first = [next(line for line in log(run) if line["kind"] == "epoch") for run in (tmp_path / "run", whole)]
    assert first[0]["val_loss"] == first[1]["val_loss"]
    averaged_probabilities(tmp_path / "run")

    # So does whoever evaluates that run's weights, unless told otherwise.
    again = ["evaluate", str(tmp_path / "run"), "--data_path", str(motion), "--device", "cpu"]
    for asked, averaged in (([], "probabilities"), (["--no_softmax"], "logits")):
        capsys.readouterr()
        assert main([*again, *asked, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["averaged"] == averaged

    assert finetune(motion, tmp_path / "alone", *SIZES, "--eval", "--softmax", "--finetune", str(whole / "best")) == 0
    averaged_probabilities(tmp_path / "alone")


def averaged_probabilities(run: Path) -> None:
    assert scores(run)["averaged"] == "probabilities"
    with (run / "test" / "scores.csv").open(newline="") as file:
        for video in csv.DictReader(file):
            assert sum(float(video[name]) for name in ("left", "right", "up")) == pytest.approx(1, abs=1e-5)


def test_a_test_alone_is_of_the_same_classes(
    whole: Path, motion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(motion, tmp_path / "set")
    (tmp_path / "set" / "classes.txt").write_text("left\nup\nright\n")
    words = ("--finetune", str(whole / "best"), "--eval")
    assert finetune(tmp_path / "set", tmp_path / "run", *SIZES, *words) == 2
    expected = f"train.csv: class 1 is 'up', expected 'right', as in {whole / 'best'}\n"
    assert capsys.readouterr().err.endswith(expected)


@pytest.mark.parametrize("stop", [3, 4, 9])
def test_ended_early_and_resumed_equals_never_ended(whole: Path, motion: Path, tmp_path: Path, stop: int) -> None:
    assert finetune(motion, tmp_path, *SIZES, *WHOLE, "--max_steps", str(stop)) == 0
    assert finetune(motion, tmp_path, *SIZES, *WHOLE) == 0
    equal(tmp_path, whole)


def equal(output: Path, whole: Path) -> None:
    assert log(output) == log(whole)
    for folder in ("checkpoints", "best"):
        after, before = weights(output / folder), weights(whole / folder)
        assert all(torch.equal(after[name], before[name]) for name in before)
        ended, expected = (CheckpointStore(each / folder).newest() for each in (output, whole))
        assert ended is not None
        assert expected is not None
        assert ended.step == expected.step
    assert scores(output) == scores(whole)
    assert (output / "test" / "scores.csv").read_text() == (whole / "test" / "scores.csv").read_text()


def test_another_seed_is_another_run(whole: Path, motion: Path, tmp_path: Path) -> None:
    """Of other clips: the weights at the start are the same, and nothing else is drawn."""
    words = ["--finetune", str(whole / "best"), "--max_steps", "1", "--disable_eval_during_finetuning"]
    words += "--mixup 0 --cutmix 0 --drop_path 0 --test_num_segment 1 --test_num_crop 1".split()
    losses = []
    for seed in ("0", "1"):
        assert finetune(motion, tmp_path / seed, *SIZES, *words, "--seed", seed) == 0
        losses.append(log(tmp_path / seed)[0]["loss"])
    assert losses[0] != losses[1]


@pytest.mark.slow
def test_killed_twice_and_resumed_with_other_workers(whole: Path, motion: Path, tmp_path: Path) -> None:
    words = ["finetune", "--data_path", str(motion), "--output_dir", str(tmp_path), *CLIP, *RUN, *SIZES, *WHOLE]
    words += ["--save_ckpt_steps", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    for workers in (0, 2):
        seen = (tmp_path / "log.jsonl").stat().st_mtime_ns if (tmp_path / "log.jsonl").exists() else 0
        process = subprocess.Popen(
            [sys.executable, "-m", "adamae", *words, "--num_workers", str(workers)],
            cwd=ROOT,
            env=environment,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            lines = (tmp_path / "log.jsonl").read_text().count("\n") if (tmp_path / "log.jsonl").exists() else 0
            if lines >= (4 if workers == 0 else 7) and (tmp_path / "log.jsonl").stat().st_mtime_ns != seen:
                break
            time.sleep(0.002)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert finetune(motion, tmp_path, *SIZES, *WHOLE, "--num_workers", "1") == 0
    equal(tmp_path, whole)


@pytest.mark.slow
def test_two_processes_train_and_score(motion: Path, tmp_path: Path) -> None:
    words = ["-m", "adamae", "finetune", "--data_path", motion, "--output_dir", tmp_path, *CLIP, *RUN, *SIZES]
    outputs = launch([*words, "--batch_size", "2", "--engine", "plain"], 2)
    assert outputs[0].startswith("top-1")
    assert outputs[1] == ""
    assert scores(tmp_path)["scored"] == 6


def test_from_a_pretrained_checkpoint_of_any_name(
    motion: Path, pretrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "checkpoint-0.pth"
    assert main(["convert", str(pretrained), "-o", str(file), "--to", "reference"]) == 0
    capsys.readouterr()
    assert finetune(motion, tmp_path / "one", "--finetune", str(pretrained), "--max_steps", "1") == 0
    told = capsys.readouterr().err
    assert "28 tensors loaded; 4 randomly initialised (fc_norm.weight, fc_norm.bias, head.weight, head.bias)" in told
    assert finetune(motion, tmp_path / "two", "--finetune", str(file), "--max_steps", "1") == 0
    assert log(tmp_path / "one") == log(tmp_path / "two")


def test_without_validation_the_last_weights_are_tested(
    whole: Path, motion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Of an earlier run, as --resume none finds it.
    shutil.copytree(whole / "best", tmp_path / "best")
    assert finetune(motion, tmp_path, *SIZES, "--disable_eval_during_finetuning", "--epochs", "1", "--aa", "none") == 0
    assert not (tmp_path / "best").exists()
    assert "tested the last weights, step 4" in capsys.readouterr().err
    assert "val_top1" not in log(tmp_path)[-1]


def test_validation_and_average_may_be_switched_between_pauses(motion: Path, tmp_path: Path) -> None:
    plain = [*SIZES, "--aa", "none", "--epochs", "1"]
    assert finetune(motion, tmp_path, *plain, "--disable_eval_during_finetuning", "--max_steps", "2") == 0
    assert finetune(motion, tmp_path, *plain, "--model_ema", "--drop_path", "0.3") == 0
    assert log(tmp_path)[-1]["val_top5"] == 100.0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--encoder_depth 1", "is of a different model (depth: 2 -> 1)"),
        ("--num_frames 8", "is of a different model (num_frames: 4 -> 8)"),
        ("--data_path {other}", "was trained on other classes (left, right, up, ...)"),
        ("--resume {pretrained}", "is not a fine-tuning checkpoint; start from it with --finetune"),
    ],
)
def test_what_a_run_cannot_go_on_with(
    whole: Path,
    motion: Path,
    pretrained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: str,
    message: str,
) -> None:
    other = tmp_path / "other"
    for number, name in enumerate(("left", "right", "down")):
        (other / name).mkdir(parents=True)
        for video in list((motion / "train" / "left").glob("*.mp4"))[:4]:
            (other / name / f"{number}{video.name}").symlink_to(video)
    line = words.format(other=other, pretrained=pretrained).split()
    assert finetune(motion, whole, *SIZES, *WHOLE, *line) == 2
    told = capsys.readouterr().err
    assert message in told
    assert "--resume none to start a new run" in told
    assert told.count("\n") == 1


def test_a_clip_unlike_the_checkpoint_s_is_said(
    motion: Path, pretrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--finetune", str(pretrained), "--num_frames", "8", "--max_steps", "1", "--aa", "none"]
    assert finetune(motion, tmp_path, *words) == 0
    assert "was trained on 4 frames of 32x32 pixels, this run uses 8 of 32x32" in capsys.readouterr().err


def test_fine_tuning_a_fine_tuned_checkpoint_keeps_its_head(
    whole: Path, motion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert finetune(motion, tmp_path, "--finetune", str(whole / "best"), "--max_steps", "1", "--aa", "none") == 0
    assert "32 tensors loaded" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--nb_classes 2", "the label of"),
        ("--finetune {root}/no.pth", "no such file or directory; expected a checkpoint"),
        ("--finetune {pretrained} --encoder_embed_dim 24", "does not match the model"),
        ("--finetune {pretrained} --model vit_small_patch16_224", "does not match the model"),
        ("--model adamae_tiny", "--model adamae_tiny is a pre-training model: expected a classifier"),
        ("--model vit_giant", "unknown model 'vit_giant'"),
        ("--aa randaug", "--aa randaug: expected none or a RandAugment of timm"),
        ("--crop_scale 1 0.08", "--crop_scale 1 0.08: expected two fractions in ascending order"),
        ("--batch_size 19", "a step needs 19 videos or images (1 process, --batch_size 19, 1 micro-batch), got 18"),
        ("--deepspeed_config zero9", "--deepspeed_config zero9: expected a JSON file, or one of zero0, zero1, zero2"),
        ("--cutmix_minmax 0.5 0.1", "--cutmix_minmax 0.5 0.1: expected two fractions in ascending order"),
        ("--frame_sampling segment --test_num_segment 5", "number of temporal test views is 5"),
        ("--short_side_size 16", "short side 16: expected at least the size of the views"),
        ("--eval", "--eval: no checkpoint in"),
        ("--eval --finetune {pretrained}", "which has no classes; expected a fine-tuned checkpoint"),
        ("--mask_ratio 0.9", "--mask_ratio: belongs to pre-training"),
        ("--data_path {root}/nowhere", "no such"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    motion: Path, pretrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, message: str
) -> None:
    line = words.format(root=tmp_path, pretrained=pretrained).split()
    assert finetune(motion, tmp_path / "run", *line) == 2
    told = capsys.readouterr().err
    assert told.startswith("adamae: error: ")
    assert told.count("\n") == 1
    assert message in told
    assert not (tmp_path / "run").exists()
