"""The script for a machine with a GPU, tried without one: it has to be ready on the day that there is one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts" / "benchmarks"
TINY = (
    "adamae_tiny --num_frames 4 --input_size 32 --patch_size 8 --encoder_embed_dim 32 --encoder_depth 1 "
    "--encoder_num_heads 2 --decoder_embed_dim 32 --decoder_depth 1 --decoder_num_heads 2 --mask_ratio 0.8"
)


def report(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SCRIPTS / "gpu_report.py", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def run_of(folder: Path, losses: list[float]) -> Path:
    folder.mkdir()
    (folder / "log.jsonl").write_text("".join(json.dumps({"loss": loss}) + "\n" for loss in losses))
    return folder


def test_a_resumed_run_that_goes_another_way_is_seen(tmp_path: Path) -> None:
    whole, near, far = (run_of(tmp_path / name, [1.0, x]) for name, x in (("a", 0.5), ("b", 0.5001), ("c", 0.51)))
    done = report("same", whole, near)
    assert (done.returncode, "2.0e-04" in done.stdout) == (0, True), done
    assert report("same", whole, far).returncode == 1
    assert report("same", whole, run_of(tmp_path / "short", [1.0])).returncode == 1


def test_a_curve_that_ends_elsewhere_is_seen(tmp_path: Path) -> None:
    start, noisy = [1.0] * 30, [0.5, 0.6] * 5
    fp32 = run_of(tmp_path / "fp32", start + noisy)
    assert report("curves", fp32, run_of(tmp_path / "near", start + noisy[::-1])).returncode == 0
    assert report("curves", fp32, run_of(tmp_path / "far", start + [x + 0.1 for x in noisy])).returncode == 1


@pytest.mark.slow
def test_it_runs_from_end_to_end(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    small = {"DEVICE": "cpu", "MODEL": TINY, "BATCH": "2", "BATCHES": "1", "ROUNDS": "1", "STEPS": "4"}
    # Compiling takes minutes on a CPU, and is tested elsewhere.
    here = {"PYTHON": sys.executable, "OUT": str(tmp_path), "OMP_NUM_THREADS": "1", "TORCHDYNAMO_DISABLE": "1"}
    done = subprocess.run(
        ["bash", SCRIPTS / "gpu.sh"], env={**os.environ, **small, **here}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "resumed against never stopped: losses differ by 0.0e+00" in done.stdout
    assert "mean loss of the last 2 steps" in done.stdout
    rows = (tmp_path / "table.md").read_text().splitlines()[2:]
    named = [tuple(cell.strip() for cell in row.split("|")[1:4]) for row in rows]
    assert ("bf16", "ours", "2") in named and ("fp32", "peer", "2") in named and named[-1] == ("bf16-1", "ours", "1")
