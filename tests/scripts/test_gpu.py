"""The script for a machine with a GPU, tried without one: it has to be ready on the day that there is one."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.scripts.warm_interpreter import warm_interpreter

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts" / "benchmarks"
TINY = (
    "adamae_tiny --num_frames 4 --input_size 32 --patch_size 8 --encoder_embed_dim 32 --encoder_depth 1 "
    "--encoder_num_heads 2 --decoder_embed_dim 32 --decoder_depth 1 --decoder_num_heads 2 --mask_ratio 0.8"
)
# All that the interpreter of a GPU machine may have: what torch needs, torchvision, einops, pytest without plug-ins.
BARE = (
    "torch torchgen functorch torchvision torchvision.libs numpy numpy.libs PIL pillow.libs sympy mpmath networkx "
    "jinja2 markupsafe fsspec filelock typing_extensions.py setuptools pytest _pytest py.py pluggy iniconfig packaging "
    "pygments einops"
)
# An interpreter without packages whose programs all fail, and which writes down what it was to run.
BROKEN = """#!/usr/bin/env bash
case "$*" in
    "-c import sys, torch"*) echo torch ;;
    "-c "*find_spec*) ;;
    *) echo "$*" >> {told}; case "$*" in *synthesize*) ;; *) exit 1 ;; esac ;;
esac
"""


def run_script(python: Path, out: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    small = {"DEVICE": "cpu", "MODEL": TINY, "BATCH": "2", "BATCHES": "1", "ROUNDS": "1", "STEPS": "4"}
    # Compiling takes minutes on a CPU, and is tested elsewhere.
    here = {"PYTHON": str(python), "OUT": str(out), "OMP_NUM_THREADS": "1", "TORCHDYNAMO_DISABLE": "1"}
    settings = {**os.environ, **small, **here, **settings}
    return subprocess.run(["bash", SCRIPTS / "gpu.sh"], env=settings, capture_output=True, text=True, check=False)


def bare_interpreter(folder: Path) -> Path:
    """Of an environment with nothing but links to :data:`BARE`."""
    venv.create(folder)
    (site,) = folder.glob("lib/python*/site-packages")
    homes = {
        Path(importlib.import_module(name).__file__ or "").parents[1] for name in ("einops", "numpy", "pytest", "torch")
    }
    for home in homes:
        for name in BARE.split():
            if (home / name).exists():
                (site / name).symlink_to(home / name)
    return folder / "bin" / "python"


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


def test_the_tests_it_names_are_those_for_a_gpu(root: Path) -> None:
    marked = {
        str(path.relative_to(root))
        for path in (root / "tests").rglob("test_*.py")
        if re.search(r"^(pytestmark = |@)pytest\.mark\.gpu", path.read_text(), re.MULTILINE)
    }
    assert marked == set(re.findall(r"tests/\S+\.py", (SCRIPTS / "gpu.sh").read_text()))


def test_a_stage_that_fails_does_not_end_the_others(tmp_path: Path) -> None:
    python, told = tmp_path / "python", tmp_path / "told"
    python.write_text(BROKEN.format(told=told))
    python.chmod(0o755)
    done = run_script(python, tmp_path, BATCHES="1 2")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == (
        "gpu.sh: failed: parity,resuming,half precision,bf16,fp32,bf16-transformers,fp32-transformers"
    )
    assert "gpu.sh: no step of 1 clips, larger ones are left out" in done.stdout
    started = told.read_text().splitlines()
    assert sum(" pretrain " in line for line in started) == 2 and sum("/step.py " in line for line in started) == 5


@pytest.mark.slow
def test_it_runs_where_there_is_little_more_than_torch(tmp_path: Path) -> None:
    done = run_script(bare_interpreter(tmp_path / "bare"), tmp_path, BATCHES="")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    left_out = [line for line in done.stdout.splitlines() if line.startswith("gpu.sh: ")]
    assert left_out == [
        "gpu.sh: trial runs left out, not installed: av braceexpand rich safetensors tensorboard yaml",
        "gpu.sh: pictures left out, not installed: matplotlib",
        "gpu.sh: Transformers' step left out, not installed: transformers",
    ]
    assert re.search(r"\d+ (skipped|passed)", done.stdout) and "error" not in done.stdout
    rows = (tmp_path / "table.md").read_text().splitlines()[2:]
    assert rows[0].startswith("| bf16 | ours | 2 |") and any(row.startswith("| fp32 | ours | 2 |") for row in rows)


@pytest.mark.slow
def test_it_runs_from_end_to_end(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    with warm_interpreter(tmp_path) as python:
        done = run_script(python, tmp_path)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "resumed against never stopped: losses differ by 0.0e+00" in done.stdout
    assert "mean loss of the last 2 steps" in done.stdout
    rows = (tmp_path / "table.md").read_text().splitlines()[2:]
    named = [tuple(cell.strip() for cell in row.split("|")[1:4]) for row in rows]
    assert (
        ("bf16", "ours", "2") in named
        and ("fp32-transformers", "transformers", "2") in named
        and named[-1] == ("bf16-1", "ours", "1")
    )
