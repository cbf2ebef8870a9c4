"""What the launch scripts start: the launcher is a stand-in that prints its words."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.launching import ROOT

ECHO = """#!/bin/sh
echo "$SRUN_CPUS_PER_TASK" "$0" "$@"
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for name in ("scripts", "configs"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for program in (tmp_path / ".venv/bin/deepspeed", tmp_path / "bin/srun"):
        program.parent.mkdir(parents=True)
        program.write_text(ECHO)
        program.chmod(0o755)
    return tmp_path


def start(repository: Path, script: str, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    path = f"{repository / 'bin'}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "SLURM_SUBMIT_DIR": str(repository), **settings}
    command = ["bash", repository / "scripts" / script, *words]
    return subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", ["pretrain", "finetune"])
def test_the_recipe_comes_first_and_what_is_typed_after_it(repository: Path, command: str) -> None:
    (recipe, *_) = sorted(path.stem for path in (repository / "configs" / command).iterdir())
    done = start(repository, f"{command}.sh", recipe, "--lr", "1 2", GPUS="2")
    wanted = f"deepspeed --num_gpus 2 --module adamae {command} --config {recipe} --lr 1 2\n"
    assert (done.returncode, done.stdout.rpartition("/")[2]) == (0, wanted), done.stderr


@pytest.mark.parametrize(("settings", "launch"), [({}, ""), ({"GPUS": "2"}, " --num_gpus 2")])
@pytest.mark.parametrize("command", ["pretrain", "finetune"])
def test_a_hostfile_says_where(repository: Path, command: str, settings: dict[str, str], launch: str) -> None:
    (repository / "hosts.txt").write_text("one slots=8\n")
    words = ["quickstart", "--data_path", "a/{0..9}.tar", "--finetune", "of a"]
    hosts = str(repository / "hosts.txt")
    done = start(repository, f"{command}.sh", *words, HOSTFILE=hosts, **settings)
    # What a shell on the other machine leaves as it is; the launcher quotes what has spaces.
    wanted = r"quickstart --data_path a/\{0..9\}.tar --finetune of a"
    wanted = f"deepspeed --hostfile {hosts} --force_multi{launch} --module adamae {command} --config {wanted}\n"
    assert (done.returncode, done.stdout.partition("bin/")[2]) == (0, wanted), done.stderr


def test_a_missing_hostfile_does_not_become_a_run_on_this_machine(repository: Path) -> None:
    done = start(repository, "pretrain.sh", "quickstart", HOSTFILE="hosts.txt")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "pretrain.sh: error: HOSTFILE=hosts.txt: no such file, seen from /\n"


@pytest.mark.parametrize("data", ["ssv2", "k400"])
@pytest.mark.parametrize("command", ["pretrain", "finetune"])
def test_the_folders_of_the_data_sets_are_doors(repository: Path, command: str, data: str) -> None:
    done = start(repository, f"{data}/{command}.sh", "--epochs", "3")
    assert done.stdout.endswith(f"--module adamae {command} --config adamae_{data}_base --epochs 3\n"), done.stderr


@pytest.mark.parametrize("words", [[], ["--data_path", "x"]])
def test_without_a_recipe_the_recipes_are_named(repository: Path, words: list[str]) -> None:
    done = start(repository, "pretrain.sh", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        "pretrain.sh: error: the recipe is missing: expected one of adamae_k400_base adamae_ssv2"
    )
    assert "yaml" not in done.stderr


@pytest.mark.parametrize("words", [["quickstart", "--lr", "1"], ["--config", "quickstart", "--lr", "1"]])
@pytest.mark.parametrize("command", ["pretrain", "finetune"])
def test_slurm_takes_a_recipe_and_options_alone(repository: Path, command: str, words: list[str]) -> None:
    done = start(repository, f"slurm/{command}.sbatch", *words, SLURM_CPUS_PER_TASK="12")
    assert done.stdout.startswith("12 ")
    assert done.stdout.endswith(f".venv/bin/adamae {command} --config quickstart --lr 1\n"), done.stderr
