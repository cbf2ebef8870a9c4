"""Tiny runs for fault injection: their videos, command lines, and a comparison of two runs."""

from __future__ import annotations

from pathlib import Path

import torch

from adamae.checkpoints.store import CheckpointStore
from adamae.json_lines import JsonLines
from adamae.training.run_logger import TIMING
from tests.cli.test_pretrain import TINY
from tests.faults.processes import Process, expect
from tests.faults.trial import LostError

FINETUNE = """--model vit_tiny_patch16_224 --encoder_embed_dim 16 --encoder_num_heads 2 --encoder_depth 1 --patch_size 8
    --input_size 32 --num_frames 4 --sampling_rate 1 --batch_size 4 --num_workers 0 --epochs 2 --log_every 1
    --device cpu --aa none --test_num_segment 1""".split()
# Steps of a run: two epochs of three steps.
STEPS = 6
Words = list[str | Path]


def videos(shared: Path) -> Path:
    """Return the folder of twelve training videos of 32 x 32 pixels, made once."""
    folder = shared / "videos"
    if not folder.exists():
        from adamae.cli.main import main

        options = "--videos_per_class 6 --val_per_class 1 --test_per_class 1 --classes left,right --size 32 --frames 8"
        words = ["synthesize", str(folder), *options.split(), "--workers", "0"]
        expect([Process(lambda: main(words), shared, "videos").wait()])
    return folder


def pretrain_words(data: Path, output: Path, *more: str | Path) -> Words:
    """Return the arguments of ``adamae pretrain`` with six steps and a checkpoint after every second step."""
    return [
        *("pretrain", "--data_path", data / "train.csv", "--output_dir", output, *TINY, "--engine", "plain"),
        *("--save_ckpt_steps", "2", *more),
    ]


def finetune_words(data: Path, output: Path, *more: str | Path) -> Words:
    """Return the arguments of ``adamae finetune`` with six steps, validations, checkpoints and a test."""
    return [
        *("finetune", "--data_path", data, "--output_dir", output, *FINETUNE, "--engine", "plain"),
        *("--save_ckpt_steps", "2", *more),
    ]


COMMANDS = {"pretrain": pretrain_words, "finetune": finetune_words}


def log(output: Path) -> list[dict[str, object]]:
    """Return the records of a run's log without the fields that differ between equal runs."""
    lines = JsonLines(output / "log.jsonl").read()
    return [{name: value for name, value in line.items() if name not in TIMING} for line in lines]


def weights(output: Path) -> dict[str, torch.Tensor]:
    """Return the weights of a run's newest checkpoint."""
    newest = CheckpointStore(output / "checkpoints").newest()
    if newest is None:
        raise LostError(f"no checkpoint in {output}")
    return newest.weights()


def expect_same(output: Path, expected: Path) -> None:
    """Raise LostError unless log and weights of two runs are bitwise equal."""
    ours, theirs = log(output), log(expected)
    if ours != theirs:
        differing = next(
            (pair for pair in zip(ours, theirs, strict=False) if pair[0] != pair[1]), (len(ours), len(theirs))
        )
        raise LostError(f"the log differs: {differing[0]} instead of {differing[1]}")
    found, wanted = weights(output), weights(expected)
    different = [name for name in wanted if name not in found or not torch.equal(found[name], wanted[name])]
    if different or set(found) != set(wanted):
        raise LostError(f"{len(different)} weights differ, the first is {different[:1]}")
