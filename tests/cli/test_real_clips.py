"""Pre-training on real videos of every shape, the damaged ones too."""

from __future__ import annotations

import json
import math
from pathlib import Path
from statistics import mean

import pytest

from adamae.cli.main import main

SMALL = """--model adamae_tiny --encoder_depth 2 --decoder_depth 1 --input_size 48 --patch_size 8 --num_frames 8
    --sampling_rate 2 --mask_ratio 0.9 --normlize_target False --batch_size 2 --num_workers 2 --epochs 20 --lr 0.1
    --log_every 5 --max_bad_fraction 0.2 --save_ckpt_freq 1000 --device cpu""".split()


@pytest.mark.slow
def test_two_hundred_steps_on_all_real_clips(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = ["pretrain", "--data_path", str(clips), "--output_dir", str(out), "--max_steps", "200", *SMALL]
    assert main(command) == 0
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    steps = [line for line in lines if line["kind"] == "step"]
    assert steps[-1]["step"] == 200
    assert all(math.isfinite(line["reconstruction"]) for line in steps)
    assert sum(line["skipped"] for line in steps) == 0
    quarters = [mean(line["reconstruction"] for line in steps[start : start + 10]) for start in range(0, 40, 10)]
    print("reconstruction by quarters of the run:", quarters)
    assert quarters[0] > 2 * quarters[1] > 2 * quarters[3]
