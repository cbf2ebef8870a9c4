"""``adamae pretrain`` from the command line to the files that it leaves."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
import yaml

from adamae.checkpoints.run_checkpoint import Checkpoint
from adamae.checkpoints.store import CheckpointStore
from adamae.cli.main import main
from adamae.options.pretrain import pretrain_parser
from adamae.training.run_logger import TIMING
from tests import launching as processes

TINY = """--model adamae_tiny --encoder_embed_dim 16 --encoder_num_heads 2 --encoder_depth 1 --decoder_embed_dim 16
    --decoder_num_heads 2 --decoder_depth 1 --input_size 32 --patch_size 8 --num_frames 4 --sampling_rate 1
    --mask_ratio 0.75 --batch_size 4 --num_workers 0 --epochs 2 --log_every 1 --device cpu""".split()


def pretrain(videos: Path, output: Path, *words: str) -> int:
    return main(["pretrain", "--data_path", str(videos / "train.csv"), "--output_dir", str(output), *TINY, *words])


def log(output: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]


def losses(output: Path) -> dict[int, object]:
    return {int(str(line["step"])): line["loss"] for line in log(output) if line["kind"] == "step"}


def test_a_run_leaves_what_it_promises(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pretrain(videos, tmp_path / "run", "--warmup_lr", "1e-6") == 0
    run = tmp_path / "run"
    assert {".lock", "log.jsonl", "options.yaml", "tensorboard", "checkpoints"} == {path.name for path in run.iterdir()}
    assert sorted(losses(run)) == [1, 2, 3, 4, 5, 6]
    assert "hit_rate" in log(run)[0]
    told = capsys.readouterr().err
    assert "note: --warmup_lr: does nothing" in told
    assert "data: 12 videos of" in told
    assert "8 of 32 tokens visible" in told
    assert "done: step 6" in told
    meta = Checkpoint.open(run / "checkpoints" / "step-00000006").meta
    assert meta["model"]["options"]["encoder_embed_dim"] == 16
    assert meta["args"]["mask_ratio"] == 0.75


def test_the_model_is_built_again_from_the_checkpoint_alone(videos: Path, tmp_path: Path) -> None:
    import adamae

    pretrain(videos, tmp_path / "run", "--max_steps", "1")
    meta = Checkpoint.open(tmp_path / "run" / "checkpoints" / "step-00000001").meta
    model = adamae.create_model("adamae_tiny", **meta["model"]["options"])
    report = adamae.load_weights(model, tmp_path / "run", complete=True)
    assert not report.new


def test_the_record_repeats_the_run(videos: Path, tmp_path: Path) -> None:
    pretrain(videos, tmp_path / "one", "--max_steps", "2", "--no_detach_sampler_input")
    record = tmp_path / "one" / "options.yaml"
    assert yaml.safe_load(record.read_text())["detach_sampler_input"] is False
    assert main(["pretrain", "--config", str(record), "--output_dir", str(tmp_path / "two")]) == 0
    assert losses(tmp_path / "two") == losses(tmp_path / "one")


@pytest.mark.slow
@pytest.mark.parametrize("total", [("--total_batch_size", "8"), ("--update_freq", "2")])
def test_the_record_repeats_the_run_on_another_number_of_processes(
    total: tuple[str, str], videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pretrain(videos, tmp_path / "one", *total) == 0
    assert "clips per step: 8 (4 per micro-batch, 2 micro-batches, 1 process)" in capsys.readouterr().err
    record = tmp_path / "one" / "options.yaml"
    words = ["pretrain", "--config", record, "--output_dir", tmp_path / "two", "--engine", "plain"]
    processes.launch(["-m", "adamae", *words], size=2)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    assert main(["pretrain", "--config", str(tmp_path / "two" / "options.yaml"), "--output_dir", str(tmp_path)]) == 0
    assert losses(tmp_path) == losses(tmp_path / "one")


def test_going_on_tells_which_options_changed(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pretrain(videos, tmp_path, "--max_steps", "2")
    assert "starting a new run" in capsys.readouterr().err
    pretrain(videos, tmp_path, "--max_steps", "4", "--clip_grad", "1")
    told = capsys.readouterr().err
    assert "resuming from step 2" in told
    assert "changed options: max_steps: 2 -> 4, clip_grad: none -> 1.0" in told
    assert sorted(losses(tmp_path)) == [1, 2, 3, 4]
    pretrain(videos, tmp_path, "--max_steps", "4", "--clip_grad", "1")
    told = capsys.readouterr().err
    assert "resuming from step 4" in told
    assert "other options" not in told


def test_several_clips_of_one_decode(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A pass has so many times the batch, the rate follows, and workers change nothing."""
    words = ["--batch_size", "2", "--num_sample", "3", "--max_steps", "3"]
    assert pretrain(videos, tmp_path / "alone", *words) == 0
    told = capsys.readouterr().err
    assert "clips per step: 6 (6 per micro-batch, 1 micro-batch, 1 process)" in told
    assert "6 per epoch; peak learning rate 3.52e-06" in told
    assert pretrain(videos, tmp_path / "worker", *words, "--num_workers", "1") == 0
    assert losses(tmp_path / "worker") == losses(tmp_path / "alone")


def test_accumulation_follows_from_the_total_batch(videos: Path, tmp_path: Path) -> None:
    pretrain(videos, tmp_path / "whole", "--batch_size", "4")
    pretrain(videos, tmp_path / "parts", "--batch_size", "2", "--total_batch_size", "4")
    whole, parts = losses(tmp_path / "whole"), losses(tmp_path / "parts")
    assert parts == pytest.approx(whole, rel=1e-5)
    recorded = yaml.safe_load((tmp_path / "parts" / "options.yaml").read_text())
    assert (recorded["total_batch_size"], recorded["update_freq"]) == (4, None)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--data_path nowhere", "nowhere: no such list or folder"),
        ("--data_path {empty}", "{empty}: no video or image in this folder or below it"),
        ("--data_path {bad}", "{bad}"),
        ("--output_dir {file}/run", "--output_dir {file}/run: cannot be written: Not a directory"),
        ("--output_dir ''", "--output_dir is missing: expected a folder for checkpoints and logs"),
        ("--input_size 33", "33 does not divide into tokens: expected a multiple of patch_size = 8"),
        ("--num_frames 5", "num_frames = 5 does not divide into tokens: expected a multiple of tubelet_size = 2"),
        ("--encoder_num_heads 3", "encoder width 16 does not divide into 3 heads"),
        ("--mask_ratio 0", "--mask_ratio: got 0.0, expected a number above 0 and below 1"),
        ("--mask_ratio 0.99", "mask_ratio = 0.99 leaves 0 of 32 tokens visible"),
        ("--model vit_base_patch16_224", "--model vit_base_patch16_224 is a classifier"),
        ("--model adamae_bse", "unknown model 'adamae_bse'; did you mean 'adamae_base'?"),
        ("--device gpu", "--device gpu: expected auto, cpu or cuda"),
        ("--warmup_epochs 3", "warm-up of 9 steps: expected 0 to 6, the steps of the run"),
        ("--total_batch_size 6", "--total_batch_size 6: expected a multiple of 4"),
        (
            "--batch_size 13",
            "a step needs 13 videos or images (1 process, --batch_size 13, 1 micro-batch), got 12: expected a smaller "
            "global batch",
        ),
        (
            "--total_batch_size 16",
            "a step needs 16 videos or images (1 process, --batch_size 4, 4 micro-batches), got 12",
        ),
        ("--deepspeed_config zero9", "--deepspeed_config zero9: expected a JSON file, or one of zero0, zero1, zero2"),
        ("--resume nowhere", "--resume nowhere: no valid checkpoint found"),
    ],
)
def test_what_makes_no_run_is_one_line_and_leaves_nothing(
    words: str, message: str, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {name: str(tmp_path / name) for name in ("empty", "file", "bad")}
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "bad").write_text("")
    more = [word.strip("'") for word in words.format(**places).split()]
    capsys.readouterr()
    assert pretrain(videos, tmp_path / "run", *more) == 2
    told = capsys.readouterr().err
    assert told.startswith("adamae: error: ")
    assert message.format(**places) in told
    assert told.count("\n") == 1
    assert not (tmp_path / "run").exists()


def launch(launcher: list[str], videos: Path, output: Path, root: Path, *words: str) -> None:
    done = subprocess.run(
        [*launcher, "pretrain", "--data_path", str(videos / "train.csv"), "--output_dir", str(output), *TINY, *words],
        cwd=root,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


SRUN = """#!/bin/sh
# Starts two tasks as Slurm numbers them; the first word is an option of its own.
shift
export SLURM_NTASKS=2 SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=2 SLURM_NODELIST="localhost" OMP_NUM_THREADS=1
SLURM_PROCID=1 SLURM_LOCALID=1 "$@" &
SLURM_PROCID=0 SLURM_LOCALID=0 "$@" && wait $!
"""


@pytest.mark.slow
def test_one_process_resumes_what_slurms_script_began_with_two_tasks(videos: Path, tmp_path: Path, root: Path) -> None:
    stub = tmp_path / "bin" / "srun"
    stub.parent.mkdir()
    stub.write_text(SRUN)
    stub.chmod(0o755)
    launchers = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    environment = {name: value for name, value in os.environ.items() if name not in launchers}
    environment |= {"PATH": f"{stub.parent}:{os.environ['PATH']}", "SLURM_SUBMIT_DIR": str(root)}
    # The port of the rendezvous follows from it.
    environment["SLURM_JOB_ID"] = str(free_slurm_job())
    run = ["--data_path", videos / "train.csv", "--output_dir", tmp_path / "two", *TINY, "--max_steps", "4"]
    command = ["bash", "scripts/slurm/pretrain.sbatch", *run, "--batch_size", "2", "--engine", "plain"]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "2 processes" in done.stderr
    assert pretrain(videos, tmp_path / "two") == 0
    assert pretrain(videos, tmp_path / "one") == 0
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)


def free_slurm_job() -> int:
    for job in range(os.getpid() % 9000, 10000):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", 20000 + job))
            return job
    raise AssertionError("no port is free")


@pytest.mark.slow
def test_torchrun_starts_two_processes_that_equal_one(videos: Path, tmp_path: Path, root: Path) -> None:
    """By DeepSpeed, as several processes choose it; the plain engine is tried without a launcher above."""
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc_per_node",
        "2",
        "--master_port",
        f"{free_port()}",
    ]
    launch([*torchrun, "-m", "adamae"], videos, tmp_path / "two", root, "--batch_size", "2")
    assert pretrain(videos, tmp_path / "one") == 0
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    assert (tmp_path / "two" / "deepspeed.json").exists()


@pytest.mark.slow
def test_a_signal_saves_and_the_exit_code_tells(videos: Path, tmp_path: Path, root: Path) -> None:
    command = [sys.executable, "-m", "adamae", "pretrain", "--data_path", str(videos / "train.csv")]
    process = subprocess.Popen(
        [*command, "--output_dir", str(tmp_path), *TINY, "--epochs", "10000"],
        cwd=root,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    while not (tmp_path / "log.jsonl").exists() and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    told = process.stderr.read()
    assert process.wait(60) == 128 + signal.SIGTERM
    assert "by SIGTERM; run the same command to resume" in told
    assert (tmp_path / "checkpoints" / "latest").exists()


@pytest.mark.slow
def test_killed_twice_and_resumed_with_other_workers_equals_never_killed(
    videos: Path, tmp_path: Path, root: Path
) -> None:
    """SIGKILL mid-epoch (an epoch is three steps, a checkpoint every two), each time with other loader workers."""
    run = ("--epochs", "8", "--save_ckpt_steps", "2", "--lr", "0.05")
    assert pretrain(videos, tmp_path / "whole", *run) == 0
    output = tmp_path / "killed"
    command = [sys.executable, "-m", "adamae", "pretrain", "--data_path", str(videos / "train.csv")]
    for workers, enough in ((2, random.randint(3, 8)), (1, random.randint(12, 20))):
        print("killed with", workers, "workers after", enough, "lines")
        process = subprocess.Popen(
            [*command, "--output_dir", str(output), *TINY, *run, "--num_workers", str(workers)],
            cwd=root,
            start_new_session=True,
            stderr=subprocess.DEVNULL,
        )
        while process.poll() is None and count_lines(output) < enough:
            time.sleep(0.002)
        assert process.poll() is None, "the run was over before it could be killed"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert pretrain(videos, output, *run) == 0
    assert [untimed(line) for line in log(output)] == [untimed(line) for line in log(tmp_path / "whole")]
    saved, expected = (CheckpointStore(each / "checkpoints").newest() for each in (output, tmp_path / "whole"))
    assert saved is not None
    assert expected is not None
    weights = saved.weights()
    assert all(torch.equal(weights[name], value) for name, value in expected.weights().items())


def count_lines(output: Path) -> int:
    file = output / "log.jsonl"
    return file.read_text().count("\n") if file.exists() else 0


def untimed(line: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in line.items() if name not in TIMING}


def test_the_examples_of_the_help_parse() -> None:
    from adamae.options.pretrain import EXAMPLES

    for example in EXAMPLES:
        pretrain_parser().parse(example.split(" pretrain ")[1].split())
