"""A rank that ends by an error takes the others with it, whatever they are at."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest
import torch.distributed as dist

from adamae import ranks
from adamae.ranks import RankWatch
from tests.launching import launch, ranks_environment


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Why a watch ended its process, which it does not do here."""
    reasons: list[str] = []

    def note(watch: RankWatch, failure: str) -> None:
        reasons.append(failure)
        watch._stopped.set()

    monkeypatch.setattr(ranks, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(RankWatch, "_exit", note)
    return reasons


def wait_until_stopped(watch: RankWatch) -> None:
    assert watch._stopped.wait(60)
    watch.close()


def test_a_rank_whose_heartbeat_stands_still_ends_the_others(said: list[str]) -> None:
    store = dist.HashStore()
    names = dist.PrefixStore("adamae-ranks", store)
    names.set("beat-1", "7 somewhere")
    watch = RankWatch(store, 0, 2, heartbeat_timeout=0.05)
    wait_until_stopped(watch)
    assert len(said) == 1
    assert said[0].startswith("rank 1 has not responded for ")
    assert names.get("ended").decode() == said[0]


def test_a_store_that_does_not_answer_ends_the_ranks(said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    monkeypatch.setattr(ranks, "_GRACE_SECONDS", 0.01)
    monkeypatch.setattr(RankWatch, "_write", lambda *_: never.wait())
    watch = RankWatch(dist.HashStore(), 1, 2, heartbeat_timeout=0.05)
    assert watch._stopped.wait(60)
    never.set()
    watch.close()
    assert said[0].startswith("rank 0, or the launcher, has not responded for ")


def test_a_request_to_exit_reaches_all(said: list[str]) -> None:
    store = dist.HashStore()
    watches = [RankWatch(store, rank, 2, heartbeat_timeout=0) for rank in (0, 1)]
    watches[1].request_exit()
    deadline = time.monotonic() + 60
    while not all(watch.exit_requested for watch in watches):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    for watch in watches:
        watch.close()
    assert said == []


def test_a_heartbeat_says_where_the_main_thread_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ranks._position().startswith("adamae/ranks.py:")
    monkeypatch.setattr(ranks, "_PACKAGE", ranks._PACKAGE / "elsewhere")
    assert ranks._position() == "an unknown place"


ONE_FAILS = """
import sys, time
from adamae import distributed
world = distributed.start("cpu", timeout_seconds=60)
if world.rank == {failing}:
    raise ValueError("a defect")
time.sleep(600)  # as NCCL waits for a rank that is gone
"""


@pytest.mark.slow
@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_of_one_rank_ends_one_that_does_not_hear_of_it(failing: int) -> None:
    began = time.monotonic()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ONE_FAILS.format(failing=failing)], env=env, stderr=subprocess.PIPE, text=True
        )
        for env in ranks_environment(2)
    ]
    try:
        errors = [process.communicate(timeout=60)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [1, 1]
    assert "ValueError: a defect" in errors[failing]
    assert f"adamae: rank {1 - failing} exits because rank {failing}" in errors[1 - failing]
    assert time.monotonic() - began < 45


ALL_END = """
import time
from adamae import distributed
world = distributed.start("cpu", timeout_seconds=60)
world.close()
time.sleep({seconds} if world.rank else 0)  # longer than the others are watched
print("done")
"""


@pytest.mark.slow
def test_a_rank_may_stay_after_a_common_end() -> None:
    assert launch(["-c", ALL_END.format(seconds=8)], size=2) == ["done\n"] * 2


ONE_IS_KILLED = """
import os, signal, time
import torch
import torch.distributed as dist
from adamae import distributed
world = distributed.start("cpu", timeout_seconds=60)
time.sleep(3)
if world.rank == 1:
    os.kill(os.getpid(), signal.SIGKILL)
dist.all_reduce(torch.ones(()))
"""


@pytest.mark.slow
def test_a_rank_that_was_killed_is_named_by_the_others() -> None:
    command = [sys.executable, "-c", ONE_IS_KILLED]
    processes = [subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) for env in ranks_environment(3)]
    try:
        errors = [process.communicate(timeout=120)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert 0 not in [process.returncode for process in processes]
    assert any("exits because rank 1 no longer responds: killed" in errors[rank] for rank in (0, 2)), errors
