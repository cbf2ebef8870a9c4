"""Runs that the code of commit 069a5b4 left after four of their six steps still go on.

``old_runs`` holds what ``adamae pretrain`` and ``adamae finetune`` with the options below wrote then, with
``--max_steps 4``. Their callbacks' states are listed, not named.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from adamae.checkpoints.store import CheckpointStore
from adamae.cli.main import main
from adamae.removed_options import REMOVED
from tests.cli.test_pretrain import log

OLD = Path(__file__).parent / "old_runs"
CLIP = "--input_size 32 --num_frames 4 --sampling_rate 1 --batch_size 4 --num_workers 0 --log_every 1 --device cpu"
ENCODER = "--encoder_embed_dim 8 --encoder_num_heads 2 --encoder_depth 1 --patch_size 8"
PRETRAIN = f"""{CLIP} {ENCODER} --model adamae_tiny --decoder_embed_dim 8 --decoder_num_heads 2 --decoder_depth 1
    --mask_ratio 0.75 --epochs 2"""
FINETUNE = f"""{CLIP} {ENCODER} --model vit_tiny_patch16_224 --lr 0.1 --test_num_segment 1 --model_ema
    --model_ema_decay 0.8 --aa none --epochs 3"""


def go_on(command: str, options: str, data: Path, run: Path) -> dict[str, Any]:
    """Resume a copy of the old run; returns what its newest checkpoint then holds for training."""
    shutil.copytree(OLD / command, run)
    assert main([command, "--data_path", str(data), "--output_dir", str(run), *options.split()]) == 0
    newest = CheckpointStore(run / "checkpoints").newest()
    assert newest is not None
    return newest.training()


@pytest.mark.parametrize(("command", "options", "last"), [("pretrain", PRETRAIN, 6), ("finetune", FINETUNE, 9)])
def test_an_old_run_goes_on_where_it_stood(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, options: str, last: int
) -> None:
    data = videos / "train.csv" if command == "pretrain" else videos
    saved = go_on(command, options, data, tmp_path / "run")
    told = capsys.readouterr().err
    assert "resuming from step 4" in told
    assert not any(name in told for name in REMOVED)
    lines, before = log(tmp_path / "run"), log(OLD / command)
    assert [line["step"] for line in lines if line["kind"] == "step"] == list(range(1, last + 1))
    # The line of the step at which it paused stood at the end of the interval: all of them stay as they were.
    assert lines[: len(before)] == before
    assert all(isinstance(line["loss"], float) for line in lines)
    # Adam has counted on, and the callbacks have names now.
    counts = {int(state["step"]) for state in saved["engine"]["optimizer"].values()}
    assert counts == {last}
    assert set(saved["companions"]) == ({"panels"} if command == "pretrain" else {"average", "validation"})


def test_the_callbacks_of_an_old_run_find_their_states(videos: Path, tmp_path: Path) -> None:
    """The best epoch so far is known from the first line on, and the average is not begun anew."""
    before = CheckpointStore(OLD / "finetune" / "checkpoints").newest()
    assert before is not None
    average, validation = before.training()["companions"]
    weights = before.weights()
    assert max((weights[name] - value).abs().max() for name, value in average.items()) > 1e-4
    saved = go_on("finetune", f"{FINETUNE} --max_steps 5 --model_ema_decay 0.999999", videos, tmp_path / "run")
    assert saved["companions"]["validation"] == {**validation, "step": 5}
    for name, value in average.items():
        assert (saved["companions"]["average"][name] - value).abs().max() < 1e-6
