"""Who launched us, and what ranks tell each other."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.distributed as dist

from adamae import distributed
from adamae.distributed import World
from adamae.errors import UserError
from tests.launching import ROOT, free_port, launch, ranks_environment


def test_one_process_talks_to_itself() -> None:
    world = distributed.start("cpu")
    assert (world.rank, world.size, world.is_main) == (0, 1, True)
    assert world.mean(torch.tensor(2.0)) == 2.0
    assert world.gather(3) == [3]
    assert world.broadcast("x") == "x"
    assert world.vote(True)() and not world.vote(False)()
    assert world.on_main(lambda: 5) == 5
    world.barrier()
    world.close()


@pytest.fixture
def own_group() -> Iterator[None]:
    """A process group of one, as the caller of a library may have initialised it."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("own_group")
def test_the_process_group_of_the_caller_is_left_alone() -> None:
    with distributed.start("cpu"):
        pass
    assert dist.is_initialized()


def test_a_closed_world_leaves_a_later_process_group_alone() -> None:
    world = distributed.start("cpu", group_of_one=True)
    world.close()
    assert not dist.is_initialized()
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        world.close()
        assert dist.is_initialized()
    finally:
        dist.destroy_process_group()


def test_after_an_error_a_single_process_can_start_again() -> None:
    for _ in range(2):
        with pytest.raises(UserError, match="full"), distributed.start("cpu", group_of_one=True):
            raise UserError("full")
        assert not dist.is_initialized()


@pytest.mark.usefixtures("own_group")
def test_a_second_process_group_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ranks_environment(2)[0].items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="already initialised in this process: expected no process group, or a world"):
        distributed.start("cpu")
    assert dist.is_initialized()


def test_an_error_of_one_process_keeps_its_type() -> None:
    def fail() -> None:
        raise UserError("full")

    with pytest.raises(UserError, match="full"):
        World().on_main(fail)


@pytest.mark.parametrize("device", ["tpu", "cuda:x"])
def test_unknown_device(device: str) -> None:
    with pytest.raises(UserError, match=f"--device {device}: expected auto, cpu or cuda"):
        distributed.start(device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_missing_gpu() -> None:
    with pytest.raises(UserError, match="needs GPU 0, but only 0 are visible"):
        distributed.start("cuda")


def see_gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> list[int]:
    """Let torch see ``count`` GPUs; the list holds those that were taken."""
    taken: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    return taken


@pytest.mark.parametrize(
    ("device", "count", "local_rank", "index"),
    [
        ("auto", 8, 3, 3),
        ("cuda", 8, 3, 3),
        ("cuda:2", 8, 0, 2),
        # srun --gpus-per-task=1: each task sees one, and calls it 0.
        ("auto", 1, 0, 0),
        ("auto", 1, 3, 0),
        ("cuda", 1, 7, 0),
        ("cuda:0", 1, 3, 0),
    ],
)
def test_a_process_takes_the_gpu_of_its_local_rank_or_the_only_one(
    monkeypatch: pytest.MonkeyPatch, device: str, count: int, local_rank: int, index: int
) -> None:
    taken = see_gpus(monkeypatch, count)
    assert distributed._choose_device(device, local_rank) == torch.device("cuda", index)
    assert taken == [index]


@pytest.mark.parametrize(("device", "count", "local_rank", "index"), [("auto", 2, 2, 2), ("cuda:1", 1, 0, 1)])
def test_a_gpu_that_cannot_be_seen(
    monkeypatch: pytest.MonkeyPatch, device: str, count: int, local_rank: int, index: int
) -> None:
    taken = see_gpus(monkeypatch, count)
    with pytest.raises(
        UserError, match=rf"--device {device}: this process needs GPU {index}, but only {count} are visible"
    ):
        distributed._choose_device(device, local_rank)
    assert taken == []


def test_two_processes_with_one_gpu_are_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="b"))
    world = World(3, 4, torch.device("cuda", 0))
    for others, shared in ((["a", "c", "d"], None), (["b", "c", "d"], "0, 3")):
        monkeypatch.setattr(World, "gather", lambda self, value, others=others: [*others, value])
        if shared is None:
            distributed._check_owners(world)
            continue
        with pytest.raises(UserError, match=f"ranks {shared} share the GPU b of .*: expected one GPU per process"):
            distributed._check_owners(world)


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_machines_that_cannot_connect_end_within_the_limit(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On GPUs gloo connects for the host's group, as NCCL connects at its first exchange only."""
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setattr(distributed, "_choose_device", lambda name, local_rank: torch.device(kind, 0))
    monkeypatch.setattr(distributed, "_meet", lambda launch, limit: dist.HashStore())  # type: ignore[attr-defined]
    monkeypatch.setattr(distributed, "choose_interface", lambda *given: None)
    blocked = threading.Event()

    def connect(backend: str = "", **given: object) -> None:
        if backend == "gloo":
            blocked.wait(20)
            raise RuntimeError("connectFullMesh timed out")

    monkeypatch.setattr(dist, "init_process_group", connect)
    monkeypatch.setattr(dist, "new_group", connect)
    with pytest.raises(UserError, match=r"within 0:00:00.2.* \(--rendezvous_timeout\): .* GLOO_SOCKET_IFNAME"):
        distributed.start(kind, timeout_seconds=0.2)
    blocked.set()


TALK = """
import gc, json, os, sys, torch, weakref
from adamae import distributed
from adamae.errors import UserError

# What torchrun says: the store is the launcher's, and outlives what uses it.
os.environ |= {"MASTER_PORT": sys.argv[1], "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0"}

def fail():
    raise UserError("the disk is full")

def talk():
    world = distributed.start("cpu", timeout_seconds=60)
    store, word = world._watch._store, f"word-{world.rank}"
    known = store.check([word])
    store.set(word, "")
    given = {"a": torch.tensor(float(world.rank)), "b": torch.tensor([[1.0, 2.0 + world.rank]])}
    try:
        world.on_main(fail)
        complaint = None
    except UserError as error:
        complaint = str(error)
    votes = [world.vote(world.rank == 1), world.vote(False)]
    said = [
        {name: world.mean(value).tolist() for name, value in given.items()}, world.broadcast(world.rank),
        world.gather(world.rank * 10), complaint, [vote() for vote in votes], world.on_main(lambda: 7),
    ]
    watch = weakref.ref(world._watch)
    world.close()
    del world
    gc.collect()
    return [*said, known, watch() is None]

print(json.dumps([talk(), talk()]))
"""


@pytest.mark.slow
def test_two_processes_talk_and_do_so_again_after_the_end() -> None:
    launchers = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    first, second = [json.loads(text) for text in launch(["-c", TALK, str(launchers.port)], size=2)]
    expected = [{"a": 0.5, "b": [[1.0, 2.5]]}, 0, [0, 10], "the disk is full", [True, False], 7, False, True]
    assert [first, second] == [[expected, expected]] * 2


MEANS = """
import json, sys, torch
from adamae import distributed

with distributed.start("cpu", timeout_seconds=60) as world:
    values = torch.randn(40, generator=torch.Generator().manual_seed(int(sys.argv[1]) + world.rank))
    once = world.mean(values).tolist()
    parts = [value for part in values.split(8) for value in world.mean(part).tolist()]
    print(json.dumps([values.tolist(), once, parts]))
"""


@pytest.mark.slow
def test_means_do_not_depend_on_what_is_averaged_with_them(rng: np.random.Generator) -> None:
    """Gloo adds three ranks in an order that depends on the place in the tensor."""
    seed = str(rng.integers(2**31))
    ranks = [json.loads(text) for text in launch(["-c", MEANS, seed], size=3)]
    given = np.array([values for values, _, _ in ranks], dtype=np.float32)
    expected = given.mean(axis=0, dtype=np.float64).astype(np.float32).tolist()
    for _, once, parts in ranks:
        assert once == parts == expected


FAIL = """
import sys
from adamae import distributed
from adamae.errors import UserError
from tests.training.toy import build, losses

def work():
    world = distributed.start("cpu", timeout_seconds=60)
    losses(build("plain", world), world, range(2))
    def fail():
        raise UserError("the disk is full")
    world.on_main(fail)

try:
    work()
except UserError as error:
    print(error)
    sys.exit(2)
"""


@pytest.mark.slow
def test_an_error_of_one_process_ends_all_in_order() -> None:
    assert launch(["-c", FAIL], size=2, code=2) == ["the disk is full\n"] * 2


DEFECT = """
from adamae import distributed
world = distributed.start("cpu", timeout_seconds=60)

def fail():
    raise ValueError("not like this\\nnor like that")

try:
    world.on_main(fail)
except Exception as error:
    print(type(error).__name__, error)
    raise
"""


@pytest.mark.slow
def test_a_defect_of_rank_0_ends_all_with_its_first_line() -> None:
    first, second = launch(["-c", DEFECT], size=2, code=1, timeout=30)
    assert first == "ValueError not like this\nnor like that\n"
    assert second == "RuntimeError rank 0 ended: ValueError: not like this\n"


@pytest.mark.slow
def test_a_missing_process_is_a_message_and_not_silence() -> None:
    script = "from adamae import distributed; distributed.start('cpu', timeout_seconds=2)"
    env = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29654", "PYTHONPATH": str(ROOT)}
    began = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False)
    assert time.monotonic() - began < 60
    assert (
        "UserError: rank 0 of 2 could not reach the other ranks at 127.0.0.1:29654 within 0:00:02 "
        "(--rendezvous_timeout)" in ended.stderr
    )


@pytest.mark.slow
def test_a_process_that_waits_for_the_others_says_where_before_it_gives_up(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    address = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    for name, value in {**address, "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(distributed, "_LATE_SECONDS", 0.1)
    with pytest.raises(UserError, match=r"rank 1 of 2 could not reach the other ranks at 127.0.0.1:"):
        distributed.start("cpu", timeout_seconds=3)
    place = f"127.0.0.1:{address['MASTER_PORT']}"
    assert f"adamae: rank 1 of 2 has been waiting for the other ranks at {place} for 0.1 s" in capfd.readouterr().err
