"""A rank dies, hangs or never starts: the others end with an error within a limit, and leave no process behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import product
from pathlib import Path

from adamae import distributed
from tests.faults.kill import words
from tests.faults.preemption import at_moment
from tests.faults.processes import start
from tests.faults.runs import videos
from tests.faults.trial import LostError, Trial
from tests.launching import ROOT, free_port
from tests.nodes import namespaces_permitted, two_nodes

PROMISE = "A rank dies, stops, hangs or never starts: the others end within the limit and name it; no process is left"
LIMIT = 60.0
# Replace the five minutes of --heartbeat_timeout, and the half hour for which a collective waits.
HEARTBEAT, PATIENCE = 5, timedelta(seconds=15)
# Seconds within which a wrong address or port must be reported.
SOON = 30.0
MOMENTS = {"pretrain": ("start-up", "step", "save"), "finetune": ("start-up", "step", "save", "validation")}


def trials(seed: int, scale: float, shared: Path) -> list[Trial]:
    """Return trials with a rank that is killed, that hangs, that never starts, or that uses a wrong port."""
    data = videos(shared)
    kinds = [
        (command, moment, victim, size)
        for command, moments in MOMENTS.items()
        for moment, (victim, size) in product(moments, ((0, 2), (1, 2), (1, 4)))
    ]
    random.Random(f"ranks {seed}").shuffle(kinds)
    kinds.sort(key=lambda kind: kind[3])
    chosen = kinds if scale >= 1 else kinds[: max(1, round(len(kinds) * scale))]
    made = [_dies(*kind, data) for kind in chosen]
    absent = [
        Trial(f"rank {rank} {how}", _absent(rank, how, data))
        for rank in (0, 1)
        for how in ("never starts", "goes to another port")
    ]
    standing = [
        _stands(command, rank, size, how, data)
        for command in MOMENTS
        for rank, size in ((0, 2), (1, 2), (1, 4))
        for how in ("stopped", "hangs")
    ]
    unplugged = [_unplugged(command, data) for command in MOMENTS] if namespaces_permitted() else []
    return made + (absent + standing + unplugged if scale >= 1 else [*absent[1:2], *standing[2:4]])


def _dies(command: str, moment: str, victim: int, size: int, data: Path) -> Trial:
    def body(folder: Path) -> None:
        died = folder / "died"

        def die() -> None:
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)

        def before(rank: int) -> None:
            if rank == victim:
                _at(moment, die)

        processes = start(words(command, size, "plain", data, folder / "run"), folder, size, before)
        ended = [process.wait(LIMIT) for process in processes]
        if not died.exists():
            raise LostError("the rank did not die")
        others = [each for rank, each in enumerate(ended) if rank != victim]
        if any(each.code == 0 for each in others):
            raise LostError("a rank ended as if nothing had happened")
        silent = [each.told[-800:] for each in others if f"rank {victim}" not in each.told]
        if silent:
            raise LostError(f"no message names rank {victim}: {silent[0]}")

    return Trial(f"{command}, rank {victim} of {size} killed at {moment}", body)


def _stands(command: str, victim: int, size: int, how: str, data: Path) -> Trial:
    """A rank whose process is stopped, or whose main thread hangs; a launcher would end it afterwards."""

    def body(folder: Path) -> None:
        reached = folder / "reached"

        def stand() -> None:
            reached.touch()
            if how == "stopped":
                os.kill(os.getpid(), signal.SIGSTOP)
            else:
                time.sleep(3600)

        def before(rank: int) -> None:
            distributed._PATIENCE = PATIENCE
            if rank == victim:
                at_moment("step", 2, stand)

        line = [*words(command, size, "plain", data, folder / "run"), "--heartbeat_timeout", str(HEARTBEAT)]
        processes = start(line, folder, size, before)
        others = [process for rank, process in enumerate(processes) if rank != victim]
        ended = [process.wait(LIMIT) for process in others]
        processes[victim].send(signal.SIGKILL)
        processes[victim].wait()
        if not reached.exists() or any(each.code == 0 for each in ended):
            raise LostError(f"ended with {[each.code for each in ended]} as if nothing had happened")
        name = f"rank {victim}" if how == "stopped" else f"rank {victim} is at adamae/training/loop.py"
        if not all(name in each.told for each in ended if how == "stopped"):
            raise LostError(f"not every message names rank {victim}: {[each.told[-800:] for each in ended]}")
        if not any(name in each.told for each in ended):
            raise LostError(f"no message says where rank {victim} is: {[each.told[-800:] for each in ended]}")

    return Trial(f"{command}, rank {victim} of {size} {how} in a step", body)


def _unplugged(command: str, data: Path) -> Trial:
    """Two machines whose connection is cut, so that neither is notified that the other is gone."""

    def body(folder: Path) -> None:
        line = [str(word) for word in words(command, 2, "plain", data, folder / "run")]
        line += ["--heartbeat_timeout", str(HEARTBEAT), "--epochs", "10000"]
        environment = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "node1", "MASTER_PORT": str(free_port())}
        log = folder / "run" / "log.jsonl"
        with two_nodes(folder) as nodes:
            processes = [
                subprocess.Popen(
                    [*enter, sys.executable, "-m", "adamae", *line],
                    env=environment | {"RANK": str(rank), "PYTHONPATH": str(ROOT)},
                    stderr=subprocess.PIPE,
                    text=True,
                )
                for rank, enter in enumerate(nodes.values())
            ]
            try:
                while not log.exists() and all(process.poll() is None for process in processes):
                    time.sleep(0.01)
                subprocess.run([*nodes["node2"], "ip", "link", "set", "eth0", "down"], check=True)
                told = [process.communicate(timeout=LIMIT)[1] for process in processes]
            except subprocess.TimeoutExpired as error:
                raise LostError(f"a rank did not end within {LIMIT:g} s") from error
            finally:
                for process in processes:
                    process.kill()
                    process.wait()
        for rank, (process, text) in enumerate(zip(processes, told, strict=True)):
            if process.returncode == 0 or f"rank {rank} exits because rank {1 - rank}" not in text:
                raise LostError(f"rank {rank} ended with {process.returncode}: {text[-800:]}")

    return Trial(f"{command}, two machines, connection cut in a step", body)


def _at(moment: str, action: Callable[[], None]) -> None:
    if moment != "save":
        at_moment(moment, 2, action)
        return
    from adamae.training.loop import _Loop

    save = _Loop.save

    def dying(self: _Loop) -> None:
        action()
        save(self)

    _Loop.save = dying  # type: ignore[method-assign]


def _absent(rank: int, how: str, data: Path) -> Callable[[Path], None]:
    """A rank that never starts or uses a wrong port; rank 0 keeps its address, as it is the rendezvous."""

    def body(folder: Path) -> None:
        line = words("pretrain", 2, "plain", data, folder / "run")
        port = str(free_port())

        def before(own: int) -> None:
            if own == rank and how == "never starts":
                os._exit(0)
            if own == rank:
                os.environ["MASTER_PORT"] = port

        processes = start(line, folder, 2, before)
        waiting = [process for number, process in enumerate(processes) if number != rank or how != "never starts"]
        deadline = time.monotonic() + SOON
        while time.monotonic() < deadline and not all("rank" in process.told() for process in waiting):
            time.sleep(0.1)
        told = [process.told() for process in waiting]
        for process in processes:
            process.send(signal.SIGKILL)
            process.wait()
        if not all("rank" in text and os.environ.get("MASTER_ADDR", "127.0.0.1") in text for text in told):
            raise LostError(f"nothing was told within {SOON:g} s: {told}")

    return body
