"""Killed with SIGKILL at any moment and started again, a run ends as one that nobody killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from adamae.checkpoints.store import CheckpointStore
from tests.launching import ROOT, launch
from tests.training.test_loop import lines
from tests.training.tiny_run import NETWORKS, run, weights


def start(output: Path, workers: int, network: str = "vit") -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "tests.training.tiny_run",
        str(output),
        "--network",
        network,
        "--workers",
        str(workers),
        "--pause",
        "0.05",
    ]
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, start_new_session=True)


def kill_somewhere(process: subprocess.Popen[str], output: Path, chance: random.Random) -> None:
    """Wait for the run's first sign of life after its start, then a little, then kill it with its workers."""
    log = output / "log.jsonl"
    seen = log.stat().st_mtime_ns if log.exists() else 0
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if log.exists() and log.stat().st_mtime_ns != seen:
            break
        time.sleep(0.002)
    time.sleep(chance.uniform(0.0, 0.4))
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_killed_twice_and_resumed_with_other_workers(tmp_path: Path, network: str) -> None:
    run(tmp_path / "whole", network=network)
    chance = random.Random(os.getpid())
    killed = tmp_path / "killed"
    for workers in (0, 2):
        kill_somewhere(start(killed, workers, network), killed, chance)
    ended, _ = start(killed, 1, network).communicate(timeout=120)
    assert ended == "ended 18 None\n"
    assert lines(killed) == lines(tmp_path / "whole")
    after, before = weights(killed), weights(tmp_path / "whole")
    assert all(torch.equal(after[name], before[name]) for name in before)
    steps = [json.loads(line)["step"] for line in (killed / "log.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)


THREE = """
import sys
from pathlib import Path
from adamae import distributed
from tests.training.tiny_run import run

with distributed.start("cpu") as world:
    for name, last in (("whole", 6), ("halves", 3), ("halves", 6)):
        run(Path(sys.argv[1]) / name, batch_size=2, world=world, max_steps=last)
"""


@pytest.mark.slow
def test_three_processes_ended_early_and_resumed_equal_three_never_ended(tmp_path: Path) -> None:
    """The sum over three ranks depends on their order, and that on where DDP has put a parameter."""
    launch(["-c", THREE, tmp_path], size=3)
    assert lines(tmp_path / "halves") == lines(tmp_path / "whole")
    after, before = weights(tmp_path / "halves"), weights(tmp_path / "whole")
    assert [name for name in before if not torch.equal(after[name], before[name])] == []


LEAVE = """
import os, signal, sys
from pathlib import Path
from adamae import distributed
from tests.training.tiny_run import run

class Caller:
    def after_step(self, step):
        if step == 7 and world.rank == 1:
            os.kill(os.getpid(), signal.SIGUSR1)
    def after_epoch(self, epoch):
        return {}
    def state(self):
        return {}
    def load(self, state):
        pass

world = distributed.start("cpu")
outcome = run(Path(sys.argv[1]), batch_size=2, world=world, callbacks={"caller": Caller()})
print(outcome.step, outcome.signal)
world.close()
"""


@pytest.mark.slow
def test_a_signal_to_one_process_makes_all_leave_together(tmp_path: Path) -> None:
    texts = launch(["-c", LEAVE, tmp_path / "left"], size=2)
    assert texts == ["8 a signal to another process\n", "8 SIGUSR1\n"]
    newest = CheckpointStore(tmp_path / "left/checkpoints").newest()
    assert newest is not None
    assert newest.step == 8
