"""The script for a machine with a GPU, tried without one: it has to be ready on the day that there is one."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from adamae.gpu_specs import gpu_names
from tests.scripts.warm_interpreter import warm_interpreter

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts" / "benchmarks"
TINY = (
    "adamae_tiny --num_frames 4 --input_size 32 --patch_size 8 --encoder_embed_dim 32 --encoder_depth 1 "
    "--encoder_num_heads 2 --decoder_embed_dim 32 --decoder_depth 1 --decoder_num_heads 2 --mask_ratio 0.8"
)
# All that the interpreter of a GPU machine may have: what torch needs, torchvision, einops, pytest without plug-ins.
BARE = (
    "torch torchgen functorch torchvision torchvision.libs numpy numpy.libs PIL pillow.libs sympy mpmath networkx "
    "jinja2 markupsafe fsspec filelock typing_extensions.py setuptools pip pytest _pytest py.py pluggy iniconfig "
    "packaging pygments einops"
)
# What stands in for an interpreter.
STUB = """#!/usr/bin/env bash
case "$*" in
    "-c import sys, torch"*) echo torch ;;
    "-c "*find_spec*) ;;
    *) echo "$*" >> {told}; case "$*" in {case} ;; esac ;;
esac
"""


def run_script(python: Path, out: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    small = {"DEVICE": "cpu", "MODEL": TINY, "BATCH": "2", "BATCHES": "1", "ROUNDS": "1", "STEPS": "4"}
    # Compiling takes minutes on a CPU, and is tested elsewhere.
    here = {"PYTHON": str(python), "WORK": str(out), "WHEELS": str(out / "wheels"), "LIMIT": "3600"}
    here |= {"OMP_NUM_THREADS": "1", "TORCHDYNAMO_DISABLE": "1"}
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


def run_of(folder: Path, losses: list[float | None]) -> Path:
    folder.mkdir()
    lines = [{"kind": "step", "loss": loss} for loss in losses] + [{"kind": "epoch", "loss": 100.0}]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
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
    # A loss that is not finite is null in the log.
    broken = run_of(tmp_path / "broken", [*start, *noisy, None])
    for pair in ((fp32, broken), (broken, fp32)):
        done = report("curves", *pair)
        assert (done.returncode, done.stderr) == (1, ""), done
    assert report("same", broken, broken).returncode == 1


def test_the_tests_it_names_are_those_for_a_gpu(root: Path) -> None:
    marked = {
        str(path.relative_to(root))
        for path in (root / "tests").rglob("test_*.py")
        if re.search(r"^(pytestmark = |@)pytest\.mark\.gpu", path.read_text(), re.MULTILINE)
    }
    assert marked == set(re.findall(r"tests/\S+\.py", (SCRIPTS / "gpu.sh").read_text()))


def test_a_stage_that_fails_does_not_end_the_others(tmp_path: Path) -> None:
    python, told = stub(tmp_path, "*synthesize*) ;; *) exit 1")
    done = run_script(python, tmp_path, BATCHES="1 2")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == (
        "gpu.sh: failed: parity,doctor,resuming,half_precision,bf16,bf16-compile,fp32,"
        "bf16-transformers,fp32-transformers"
    )
    assert "gpu.sh: no step of 1 clips, larger ones are left out" in done.stdout
    started = told.read_text().splitlines()
    assert sum(" pretrain " in line for line in started) == 2 and sum("/step.py " in line for line in started) == 6


def test_what_the_doctor_finds_is_no_failure(tmp_path: Path) -> None:
    python, _ = stub(tmp_path, "*'adamae doctor'*) echo 'Must be changed:'; exit 1")
    done = run_script(python, tmp_path)
    assert "Must be changed:" in done.stdout and "gpu.sh: doctor failed" not in done.stdout
    assert (tmp_path / "doctor.txt").read_text() == "Must be changed:\n" and (tmp_path / "done" / "doctor").exists()


def stub(folder: Path, case: str) -> tuple[Path, Path]:
    """A stand-in for the interpreter that writes down what it is to run, and does ``case`` of it."""
    python, told = folder / "python", folder / "told"
    python.write_text(STUB.format(told=told, case=case))
    python.chmod(0o755)
    return python, told


def test_what_is_finished_is_not_done_again(tmp_path: Path) -> None:
    report = '{"batch_size": 1, "clips_per_second": 1, "share_of_peak": 1, "matrix_peak": 1, "peak_memory": 1}'
    python, told = stub(tmp_path, f"*fp32*) exit 1 ;; *step.py*) echo '{report}'")
    out = tmp_path / "out"
    out.mkdir()
    done = run_script(python, tmp_path, BATCHES="1 2", OUT=str(out))
    assert done.stdout.splitlines()[-1] == "gpu.sh: failed: half_precision,fp32,fp32-transformers"
    told.unlink()
    again = run_script(python, tmp_path, BATCHES="1 2", OUT=str(out))
    assert again.returncode == 1 and "gpu.sh: bf16 was finished before" in again.stdout
    started = told.read_text().splitlines()
    assert {word for line in started for word in re.findall(r"--precision (\w+)", line)} == {"fp32"}
    with tarfile.open(out / "results.tar.gz") as results:
        assert "./bf16-2.json" in results.getnames()
    # Results of other settings are not mixed with these.
    told.unlink()
    run_script(python, tmp_path, BATCHES="1 2", STEPS="5")
    assert "--precision bf16" in told.read_text()


def test_it_ends_in_time_and_says_what_is_left(tmp_path: Path) -> None:
    python, told = stub(tmp_path, "*) exec sleep 600")
    done = run_script(python, tmp_path, LIMIT="2")
    assert done.returncode == 3, done.stdout
    assert done.stdout.splitlines()[-1].startswith("gpu.sh: time is up, call again for: parity,videos,bf16,")
    # On a busy machine time is up before the first one.
    assert not told.exists() or len(told.read_text().splitlines()) == 1


def test_wheels_have_the_pinned_versions(tmp_path: Path, root: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/told; touch "{tmp_path}/wheels/$#.whl"\n')
    python.chmod(0o755)
    script = ["bash", SCRIPTS / "gpu_wheels.sh"]
    env = {**os.environ, "PYTHON": str(python), "WHEELS": f"{tmp_path}/wheels"}
    subprocess.run(script, env=env, check=True, capture_output=True)
    wanted = [line.split()[-1] for line in (tmp_path / "told").read_text().splitlines()]
    pins = "".join(path.read_text() for path in (root / "requirements").glob("*.txt"))
    assert len(wanted) == 9 and all(re.search(f"^{pin}(;|$)", pins, re.MULTILINE) for pin in wanted), wanted
    done = subprocess.run(script, env={**env, "PACKAGES": "av nothing"}, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "gpu_wheels.sh: error: PACKAGES: nothing: expected a package of requirements/\n"


def carry_wheel(folder: Path, name: str) -> None:
    """A wheel with nothing but an empty module."""
    folder.mkdir()
    facts = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", "")
        wheel.writestr(f"{facts}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{facts}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{facts}/RECORD", "")


@pytest.mark.slow
def test_it_runs_where_there_is_little_more_than_torch(tmp_path: Path) -> None:
    carry_wheel(tmp_path / "wheels", "braceexpand")
    done = run_script(bare_interpreter(tmp_path / "bare"), tmp_path, BATCHES="")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    left_out = [line for line in done.stdout.splitlines() if line.startswith("gpu.sh: ")]
    assert left_out == [
        "gpu.sh: trial runs left out, not installed: av rich safetensors tensorboard yaml",
        "gpu.sh: pictures left out, not installed: matplotlib",
        "gpu.sh: Transformers' step left out, not installed: transformers",
        "gpu.sh: predictions left out, the limits of this device are not known",
    ]
    assert re.search(r"\d+ (skipped|passed)", done.stdout) and "error" not in done.stdout
    rows = (tmp_path / "table.md").read_text().splitlines()[2:]
    assert rows[0].startswith("| bf16 | ours | 2 |") and any(row.startswith("| fp32 | ours | 2 |") for row in rows)


@pytest.mark.slow
def test_it_runs_from_end_to_end(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    with warm_interpreter(tmp_path) as python:
        done = run_script(python, tmp_path, PREDICT="h100")
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
    # Beside each measured step its prediction for the card.
    for row in rows:
        measured, predicted, ratio = (float(row.split("|")[cell]) for cell in (4, 6, 7))
        assert predicted > measured and ratio == pytest.approx(measured / predicted, abs=6e-3)


def test_the_device_tells_which_card_steps_are_predicted_for(tmp_path: Path) -> None:
    script = (SCRIPTS / "gpu.sh").read_text()
    assert set(re.findall(r"for card in ([a-z0-9 ]+);", script)[0].split()) == set(gpu_names())
    report = '{"batch_size": 1, "clips_per_second": 1, "share_of_peak": 1, "matrix_peak": 1, "peak_memory": 1}'
    python, told = stub(tmp_path, f"*step.py*) echo '{report}'")
    python.write_text(python.read_text().replace("echo torch", "echo 2.13 NVIDIA H200"))
    run_script(python, tmp_path)
    started = [line for line in told.read_text().splitlines() if "/step.py " in line]
    timed = [line for line in started if "--predict" not in line]
    predicted = [line for line in started if "--predict h200" in line]
    assert len(timed) == len(predicted) == 6 and started == timed + predicted

    def asked(line: str) -> str:
        return line[line.index("--batch_size") :].partition(" --rounds")[0]

    assert [asked(line) for line in timed] == [asked(line) for line in predicted]


def test_predictions_can_be_made_later_without_the_device(tmp_path: Path) -> None:
    report = '{"batch_size": 1, "clips_per_second": 1, "share_of_peak": 1, "matrix_peak": 1, "peak_memory": 1}'
    python, told = stub(tmp_path, f"*bf16*compile*) exit 1 ;; *step.py*) echo '{report}'")
    text = python.read_text()
    python.write_text(text.replace("echo torch", "echo 2.11 NVIDIA H100"))
    run_script(python, tmp_path, BATCHES="", PREDICT="")
    assert "--predict" not in told.read_text()
    told.unlink()
    python.write_text(text.replace("echo torch", "exit 1"))
    done = run_script(python, tmp_path, BATCHES="")
    assert "gpu.sh: no such device here, only predictions and the table are made: 2.11 NVIDIA H100" in done.stdout
    assert done.returncode == 3
    assert done.stdout.splitlines()[-1].startswith(
        "gpu.sh: no device here, or time is up, call again for: bf16-compile"
    )
    started = told.read_text().splitlines()
    # One for each stage that was timed on the device, and the table.
    assert [" --predict h100 " in line for line in started] == [True] * 4 + [False]
    assert "table" in started[-1]
    # Without results of a device there is nothing to predict.
    assert run_script(python, tmp_path, BATCHES="", STEPS="5").returncode == 1
