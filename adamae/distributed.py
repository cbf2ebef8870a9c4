"""The processes of a run and their communication.

With a single process every method of :class:`World` is a no-op. With several processes, torchrun, the deepspeed
launcher and ``srun`` are detected by their environment variables. Tensors of the model use the device's back end. Host
objects and flags (damaged files, exit requests) use gloo, so that agreement among ranks never waits for the GPU.
"""

from __future__ import annotations

import atexit
import gc
import itertools
import os
import re
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from adamae.errors import UserError
from adamae.launch import Launch, meeting_place
from adamae.network_interface import choose_interface
from adamae.plain_text import first_line
from adamae.ranks import RankWatch
from adamae.time_limit import finishes_within

T = TypeVar("T")

# Timeout of collectives during the run: to write a large checkpoint to a slow disk takes minutes.
_PATIENCE = timedelta(minutes=30)

# Seconds after which a process that waits for the others at the start prints a message.
_LATE_SECONDS = 20.0

# Number of starts in this process. It is the same on all ranks, which start their runs in the same order.
_starts = itertools.count()


@dataclass
class World:
    """The processes of a run and the device of this one. Build it with :func:`start`; close it when done.

    Attributes:
        rank: Rank of this process, from 0.
        size: Number of processes.
        device: Device of this process.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    _hosts: Any = None
    _watch: RankWatch | None = None
    _limit: timedelta = timedelta(seconds=120)
    _joined: bool = False

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and prints messages."""
        return self.rank == 0

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over ranks of a float32 tensor. All ranks pass the same shape."""
        if self.size == 1:
            return values
        # Sums in double precision, since the order in which the ranks are added depends on a value's place in the sum.
        sums = values.detach().to(torch.float64, copy=True)
        dist.all_reduce(sums)
        return (sums / self.size).float()

    def barrier(self) -> None:
        """Wait on the host until every rank has called this."""
        if self.size > 1:
            dist.barrier(group=self._hosts)

    def broadcast(self, value: T) -> T:
        """Return rank 0's ``value`` on every rank."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self._hosts)
        return box[0]

    def gather(self, value: T) -> list[T]:
        """Return the values of all ranks in order, on every rank."""
        if self.size == 1:
            return [value]
        boxes: list[Any] = [None] * self.size
        dist.all_gather_object(boxes, value, group=self._hosts)
        return boxes

    def on_main(self, action: Callable[[], T]) -> T:
        """Call ``action`` on rank 0 only, and return its result or raise its error on every rank.

        Without this, an error on rank 0 such as a full disk would leave the other ranks waiting.

        Raises:
            UserError: On every rank, if ``action`` raised one.
            RuntimeError: On the other ranks, with the first line of any other error; rank 0 raises the error itself.
        """
        if self.size == 1:
            return action()
        if not self.is_main:
            value, complaint = self.broadcast((None, None))
            if complaint is not None:
                raise complaint
            return value  # type: ignore[return-value]
        try:
            value = action()
        except UserError as error:
            self.broadcast((None, UserError(str(error))))
            raise
        except Exception as error:
            self.broadcast((None, RuntimeError(f"rank 0 ended: {type(error).__name__}: {first_line(error)}")))
            raise
        self.broadcast((value, None))
        return value

    def new_group(self) -> Any:
        """Create another process group of all ranks with the timeout of the run's own. All ranks must call this.

        A first collective runs immediately, because it opens the group's connections.

        Raises:
            UserError: If the GPUs cannot communicate.
        """
        group = dist.new_group(timeout=_PATIENCE)
        if self.device.type == "cuda":
            _check_gpus(self, self._limit, group)
        else:
            dist.all_reduce(torch.ones(()), group=group)
        return group

    def vote(self, flag: bool) -> Callable[[], bool]:
        """Start an asynchronous reduction of whether any rank's ``flag`` is set; call the result to get the answer.

        If it is started one step before the answer is needed, no rank waits.
        """
        if self.size == 1:
            return lambda: flag
        ballot = torch.tensor([flag], dtype=torch.uint8)
        work = dist.all_reduce(ballot, op=dist.ReduceOp.MAX, group=self._hosts, async_op=True)

        def answer() -> bool:
            work.wait()
            return bool(ballot.item())

        return answer

    def request_exit(self) -> None:
        """Ask all ranks to exit, without waiting for them; safe in a signal handler."""
        if self._watch is not None:
            self._watch.request_exit()

    @property
    def exit_requested(self) -> bool:
        """Whether any rank asks to exit; the ranks see this within a second or two, not at the same time."""
        return self._watch is not None and self._watch.exit_requested

    def __enter__(self) -> World:
        """Return the world itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close the world; after an error only that of a single process: other ranks may never reach the barrier."""
        if kind is None or self.size == 1:
            self.close()

    def close(self) -> None:
        """Destroy the process group of :func:`start` after a barrier. Close engines first.

        A group that the caller initialised is left alone.

        Without the barrier, ranks that still communicate would fail when one destroys its group. All references to the
        group must be gone: a group that outlives the interpreter aborts the process, because gloo's threads still hold
        tensors.
        """
        if self._joined and dist.is_initialized():
            gc.collect()
            self.barrier()
            if self._watch is not None:
                self._watch.close()
            self._hosts, self._joined = None, False
            dist.destroy_process_group()
            atexit.unregister(_leave_alone)


def start(
    device: str = "auto",
    *,
    timeout_seconds: float = 120.0,
    heartbeat_timeout: float = 300.0,
    group_of_one: bool = False,
) -> World:
    """Join the processes that the launcher started, and check that all of them can communicate.

    Args:
        device: "cpu", "cuda" or "auto" (cuda if available). "cuda" is the GPU of this process's local rank.
        timeout_seconds: Time limit to wait for the other processes, at the start and in the first collective
            (``--rendezvous_timeout``).
        heartbeat_timeout: Seconds without a heartbeat after which a rank counts as dead; 0: never.
        group_of_one: Create a process group also for a single process, as DeepSpeed requires.

    Raises:
        UserError: If the device does not exist, a process does not respond in time, or the caller has already
            initialised a process group.
    """
    launch = Launch.detect()
    chosen = _choose_device(device, launch.local_rank)
    if launch.size == 1 and not group_of_one:
        return World(device=chosen)
    if dist.is_initialized():
        raise UserError(
            "torch.distributed is already initialised in this process: expected no process group, or a world such as "
            "adamae.distributed.World(device=...), with which this process works alone"
        )
    launch.export(chosen.index)
    limit = timedelta(seconds=timeout_seconds)
    waiting = _say_if_late(launch, limit)
    try:
        store = _meet(launch, limit)
        if launch.size > 1:
            choose_interface(store, launch.rank, launch.size, os.environ["MASTER_ADDR"])
        hosts = _connect(limit, partial(_join, launch, store, chosen))
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"rank {launch.rank} of {launch.size} could not reach the other ranks at {meeting_place()} within {limit} "
            f"(--rendezvous_timeout): {first_line(error)}"
        ) from error
    finally:
        waiting.cancel()
    watch = RankWatch(store, launch.rank, launch.size, heartbeat_timeout) if launch.size > 1 else None
    atexit.register(_leave_alone, watch)
    world = World(launch.rank, launch.size, chosen, _hosts=hosts, _watch=watch, _limit=limit, _joined=True)
    _preflight(world, limit)
    return world


def _say_if_late(launch: Launch, limit: timedelta) -> threading.Timer:
    """Start a timer that prints the address at which this process waits, in case the address is wrong."""

    def say() -> None:
        print(
            f"adamae: rank {launch.rank} of {launch.size} has been waiting for the other ranks at {meeting_place()} "
            f"for {_LATE_SECONDS:g} s, and gives up after {limit} (--rendezvous_timeout)",
            file=sys.stderr,
            flush=True,
        )

    timer = threading.Timer(_LATE_SECONDS, say)
    timer.daemon = True
    timer.start()
    return timer


def _choose_device(name: str, local_rank: int) -> torch.device:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    kind = ("cuda" if count else "cpu") if name == "auto" else name
    if kind == "cpu":
        return torch.device("cpu")
    if not re.fullmatch(r"cuda(:\d+)?", kind):
        raise UserError(f"--device {name}: expected auto, cpu or cuda")
    # If a single GPU is visible, the launcher assigned it (srun --gpus-per-task=1), whatever the local rank. If several
    # processes would share that GPU instead, _check_owners raises an error.
    index = int(kind.partition(":")[2] or (0 if count == 1 else local_rank))
    if index >= count:
        raise UserError(
            f"--device {name}: this process needs GPU {index}, but only {count} are visible: expected one GPU per "
            "process of the machine, or a single visible GPU per process (srun --gpus-per-task=1)"
        )
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


def _meet(launch: Launch, limit: timedelta) -> Any:
    """Rendezvous with all processes at the launcher's address; a single process gets a local store."""
    if launch.size == 1:
        return dist.HashStore()  # type: ignore[attr-defined]
    store, *_ = next(rendezvous("env://", launch.rank, launch.size, timeout=limit))
    # torchrun's store outlives a run, and still contains the process groups and the end of the previous one.
    return dist.PrefixStore(f"adamae-start-{next(_starts)}", store)  # type: ignore[attr-defined]


def _join(launch: Launch, store: Any, device: torch.device) -> dist.ProcessGroup | None:
    """Create the default group; on GPUs also create and return a gloo group for the hosts.

    None stands for the default group: a reference would keep it alive after its destruction. Gloo connects here, NCCL
    at its first collective.
    """
    on_gpus = device.type == "cuda"
    dist.init_process_group(
        "nccl" if on_gpus else "gloo", store=store, rank=launch.rank, world_size=launch.size, timeout=_PATIENCE
    )
    return dist.new_group(backend="gloo", timeout=_PATIENCE) if on_gpus else None


def _connect(limit: timedelta, join: Callable[[], T]) -> T:
    """Call ``join()`` with a time limit; gloo itself would wait for connections as long as for later collectives.

    Raises:
        RuntimeError: If it takes longer than ``limit``.
    """
    joined: list[T] = []
    if not finishes_within(limit, lambda: joined.append(join())):
        raise RuntimeError(
            "the ranks met but cannot connect to each other: expected no firewall between their machines, and "
            f"GLOO_SOCKET_IFNAME (now {os.environ.get('GLOO_SOCKET_IFNAME', 'unset')}) with the interface to the others"
        )
    return joined[0]


def _preflight(world: World, limit: timedelta) -> None:
    """Run a first collective, so that a blocked network is reported now instead of as a hang later."""
    if world.size == 1:
        return
    try:
        dist.monitored_barrier(group=world._hosts, timeout=limit, wait_all_ranks=True)
    except RuntimeError as error:
        raise UserError(
            f"rank {world.rank}: not every rank responded within {limit} (--rendezvous_timeout): {first_line(error)}"
        ) from error
    if world.device.type == "cuda":
        _check_owners(world)
        _check_gpus(world, limit)


def _check_owners(world: World) -> None:
    """Check that no two processes have the same GPU, because NCCL's own error message is hard to understand."""
    gpu = str(torch.cuda.get_device_properties(world.device).uuid)
    owners = [str(rank) for rank, other in enumerate(world.gather(gpu)) if other == gpu]
    if len(owners) > 1:
        raise UserError(
            f"ranks {', '.join(owners)} share the GPU {gpu} of {socket.gethostname()}: expected one GPU per process"
        )


def _check_gpus(world: World, limit: timedelta, group: Any = None) -> None:
    """Run a first collective over NCCL with a time limit, because NCCL's first call has none."""
    total = torch.ones((), device=world.device)

    def exchange() -> None:
        torch.cuda.set_device(world.device)
        dist.all_reduce(total, group=group)
        torch.cuda.synchronize()

    try:
        heard, why = finishes_within(limit, exchange) and total.item() == world.size, "NCCL"
    except RuntimeError as error:
        heard, why = False, f"NCCL: {first_line(error)}"
    if not heard:
        raise UserError(
            f"rank {world.rank}: the GPUs could not communicate within {limit} ({why}); "
            "set NCCL_DEBUG=INFO for details, NCCL_SOCKET_IFNAME to choose the network interface"
        )


def _leave_alone(watch: RankWatch | None) -> None:
    """Like :meth:`World.close`, but without waiting for the other ranks, for a process that ends by an error.

    NCCL groups are not destroyed: that may wait for the other ranks, and at exit they do not abort the process.
    """
    if not dist.is_initialized():
        return
    if watch is not None:
        watch.report_failure()
    if dist.get_backend() == "gloo":
        gc.collect()
        dist.destroy_process_group()
