"""Two machines of a hostfile train; one loses its rank, and the other goes on alone."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from adamae.checkpoints.store import CheckpointStore
from tests.cli.test_pretrain import TINY, losses, pretrain
from tests.nodes import namespaces_permitted, processes_on, remote_shells, two_nodes

pytest.importorskip("deepspeed")

# An epoch is three steps.
RUN = ("--config", "quickstart", *TINY, "--epochs", "3", "--save_ckpt_steps", "2", "--lr", "0.05")
# Python reads it before anything else.
DIES = """
import os, signal
if os.environ.get("RANK") == "1":
    from adamae.training.deepspeed import DeepSpeedEngine
    left, step = 5, DeepSpeedEngine.step
    def dying(*arguments, **named):
        global left
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return step(*arguments, **named)
    DeepSpeedEngine.step = dying
"""


def launch(videos: Path, output: Path, folder: Path, root: Path) -> tuple[int, str, list[int]]:
    """Run scripts/pretrain.sh on node1 for both nodes; the rank on node2 dies in its sixth step.

    Returns:
        The exit code, all lines, each after its machine's name, and the processes that are left.
    """
    (folder / "sitecustomize.py").write_text(DIES)
    # Of the environment the launcher gives PYTHON* and NCCL* to the machines, and this.
    (folder / "deepspeed_env").write_text("OMP_NUM_THREADS=1\n")
    (folder / "hosts.txt").write_text("node1 slots=1\nnode2 slots=1\n")
    words = [*RUN[1:], "--data_path", videos / "train.csv", "--output_dir", output, "--batch_size", "2"]
    with two_nodes(folder) as nodes:
        settings = {
            "PATH": f"{remote_shells(folder, nodes)}:{os.environ['PATH']}",
            "PYTHONPATH": str(folder),
            "DS_ENV_FILE": str(folder / "deepspeed_env"),
            "HOSTFILE": str(folder / "hosts.txt"),
            "GPUS": "",
        }
        command = [*nodes["node1"], "bash", root / "scripts" / "pretrain.sh", *words]
        try:
            done = subprocess.run(
                command,
                env=os.environ | settings,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=240,
                check=False,
            )
        finally:
            left = [process for node in nodes.values() for process in processes_on(node)]
            for process in left:
                os.kill(process, signal.SIGKILL)
    return done.returncode, done.stdout, left


@pytest.mark.slow
@pytest.mark.skipif(not namespaces_permitted(), reason="network namespaces are not permitted")
def test_a_rank_of_two_machines_is_killed_and_one_machine_resumes(videos: Path, tmp_path: Path, root: Path) -> None:
    # A shell that reads this name makes two of it.
    output = tmp_path / "run{1,2}"
    code, told, left = launch(videos, output, tmp_path, root)
    assert "node1: clips per step: 4 (2 per micro-batch, 1 micro-batch, 2 processes)" in told, told
    assert (output / "deepspeed.json").exists()
    assert len(re.findall("^node[12]: .* dist_world_size=2$", told, re.MULTILINE)) == 2
    newest = CheckpointStore(output / "checkpoints").newest()
    assert newest is not None and newest.step == 4

    ended = re.findall("^(?:node1: )?adamae: .*", told, re.MULTILINE)
    assert ended == ["node1: adamae: rank 0 exits because rank 1 no longer responds: killed, or its machine is gone"]
    assert code != 0
    assert left == []

    begun = losses(output)
    assert pretrain(videos, output, *RUN) == 0
    assert pretrain(videos, tmp_path / "one", *RUN) == 0
    expected = losses(tmp_path / "one")
    assert {step: expected[step] for step in begun} == pytest.approx(begun, rel=1e-5)
    assert losses(output) == pytest.approx(expected, rel=1e-5)
    assert len(begun) >= 4 and len(expected) == 9
