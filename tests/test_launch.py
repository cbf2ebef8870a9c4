"""Which launcher started the process, and the environment that torch and DeepSpeed get."""

from __future__ import annotations

import pytest

from adamae import launch
from adamae.errors import UserError
from adamae.launch import Launch, first_slurm_host


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Launch()),
        ({"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}, Launch(3, 8, 1)),
        (
            {"SLURM_PROCID": "5", "SLURM_NTASKS": "8", "SLURM_STEP_ID": "0", "SLURM_LOCALID": "1"},
            Launch(5, 8, 1),
        ),
        # A step of two tasks inside an allocation of eight.
        (
            {"SLURM_PROCID": "1", "SLURM_NTASKS": "8", "SLURM_STEP_ID": "3", "SLURM_STEP_NUM_TASKS": "2"},
            Launch(1, 2, 0),
        ),
        # The batch script itself and an interactive shell: one process, whatever was allocated.
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, Launch()),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_STEP_ID": "4294967291"}, Launch()),
        # torchrun inside srun.
        (
            {"SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_STEP_ID": "0", "RANK": "9", "WORLD_SIZE": "16"},
            Launch(9, 16),
        ),
    ],
)
def test_launchers_are_recognised(environment: dict[str, str], expected: Launch) -> None:
    assert Launch.detect(environment) == expected


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"RANK": "one", "WORLD_SIZE": "2"}, "RANK = 'one': expected an integer"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "rank 2 of 2"),
    ],
)
def test_nonsense_from_the_launcher(environment: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Launch.detect(environment)


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("gpu1", "gpu1"),
        ("gpu[03-05,9],cpu1", "gpu03"),
        ("a-b[7,9]", "a-b7"),
        ("one,two", "one"),
        ("rack[1-2]n[3-4],x", "rack1n3"),
        ("node[01-02]-ib", "node01-ib"),
    ],
)
def test_first_slurm_host(nodes: str, first: str) -> None:
    assert first_slurm_host(nodes) == first


@pytest.mark.parametrize(("gpu", "found"), [(0, "0"), (None, "3")])
def test_deepspeed_is_told_the_number_of_the_gpu(monkeypatch: pytest.MonkeyPatch, gpu: int | None, found: str) -> None:
    environment = {"LOCAL_RANK": "3", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    monkeypatch.setattr(launch.os, "environ", environment)
    Launch(11, 16, 3).export(gpu)
    assert environment["LOCAL_RANK"] == found
    assert (environment["RANK"], environment["WORLD_SIZE"]) == ("11", "16")
