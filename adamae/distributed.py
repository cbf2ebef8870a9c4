"""Ranks and what they tell each other.

One process is the ordinary case and pays nothing: every method of :class:`World` is then a no-op. With several,
torchrun, the deepspeed launcher and ``srun`` are recognised by the variables they set. Numbers of the model travel
over the device's back end; words of the host (who is bad, who wants to leave) over gloo, so that agreeing on
something never waits for the GPU.
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
from collections.abc import Callable, Mapping
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
from adamae.ranks import RankWatch
from adamae.time_limit import finishes_within

T = TypeVar("T")

# How long one process may keep the others waiting once the run goes: a large checkpoint on a slow disk takes minutes.
_PATIENCE = timedelta(minutes=30)

# After how long a process that waits for the others at the start says so.
_LATE_SECONDS = 20.0

# Of this process; the same on all ranks, which start their runs in the same order.
_starts = itertools.count()


@dataclass
class World:
    """The processes of a run and the device of this one. Build it with :func:`start`; close it when done.

    Attributes:
        rank: This process among all, from 0.
        size: How many processes there are.
        device: Where this process computes.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    _hosts: Any = None
    _watch: RankWatch | None = None
    _limit: timedelta = timedelta(seconds=120)

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files and speaks to the person."""
        return self.rank == 0

    def mean(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The means over ranks of tensors of any shapes, in one collective. Every rank gives the same names."""
        if self.size == 1 or not values:
            return dict(values)
        flat = torch.cat([value.detach().reshape(-1).float() for value in values.values()])
        dist.all_reduce(flat)
        parts = (flat / self.size).split([value.numel() for value in values.values()])
        return {name: part.reshape(value.shape) for (name, value), part in zip(values.items(), parts, strict=True)}

    def barrier(self) -> None:
        """Wait on the host until every rank is here."""
        if self.size > 1:
            dist.barrier(group=self._hosts)

    def broadcast(self, value: T) -> T:
        """Rank 0's ``value``, on every rank."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self._hosts)
        return box[0]

    def gather(self, value: T) -> list[T]:
        """The values of all ranks in order, on every rank."""
        if self.size == 1:
            return [value]
        boxes: list[Any] = [None] * self.size
        dist.all_gather_object(boxes, value, group=self._hosts)
        return boxes

    def on_main(self, action: Callable[[], T]) -> T:
        """Do something on rank 0 alone, and have its result or its error everywhere.

        Without this a full disk on rank 0 would leave the others waiting for ever.

        Raises:
            UserError: On every rank, if it was one on rank 0.
            RuntimeError: On the other ranks, for any other error: the first line of rank 0's, which raises its own.
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
            self.broadcast((None, RuntimeError(f"rank 0 ended: {type(error).__name__}: {_first_line(error)}")))
            raise
        self.broadcast((value, None))
        return value

    def new_group(self) -> Any:
        """One more process group of all ranks that waits as long as the run's own. All ranks call.

        A number is exchanged over it at once: a group's connections are made at its first exchange.

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
        """Begin to find out whether any rank's ``flag`` is set; call the result to have the answer.

        Asked one step before it is needed, the answer costs no waiting.
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
        """Ask all ranks to exit, without waiting for any; safe in a signal handler."""
        if self._watch is not None:
            self._watch.request_exit()

    @property
    def exit_requested(self) -> bool:
        """Whether any rank asks to exit; ranks learn of it within a second or two, not at the same time."""
        return self._watch is not None and self._watch.exit_requested

    def __enter__(self) -> World:
        """The world itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Leave together, unless an error ends this process: the others may never come."""
        if kind is None:
            self.close()

    def close(self) -> None:
        """Leave together. Close engines first.

        A process that tears its group down while others still talk makes them fail. And a group that outlives the
        interpreter, because something refers to it, aborts the process: gloo's threads still hold tensors then.
        """
        if dist.is_initialized():
            gc.collect()
            self.barrier()
            if self._watch is not None:
                self._watch.close()
            self._hosts = None
            dist.destroy_process_group()
            atexit.unregister(_leave_alone)


def start(
    device: str = "auto",
    *,
    timeout_seconds: float = 120.0,
    heartbeat_timeout: float = 300.0,
    group_of_one: bool = False,
) -> World:
    """Join the run that the launcher began, and make sure that every process can be heard.

    Args:
        device: "cpu", "cuda" or "auto" (cuda where there is one). "cuda" means the GPU of this process's local rank.
        timeout_seconds: How long to wait for the other processes, at the start and in the first exchange
            (``--rendezvous_timeout``).
        heartbeat_timeout: Seconds without a heartbeat after which a rank is given up; 0: never.
        group_of_one: Make a process group also when there is only this process, as DeepSpeed wants it.

    Raises:
        UserError: If the device does not exist, or a process does not answer in time.
    """
    launch = Launch.detect()
    place = _choose_device(device, launch.local_rank)
    if launch.size == 1 and not group_of_one:
        return World(device=place)
    launch.export(place.index)
    limit = timedelta(seconds=timeout_seconds)
    waiting = _say_if_late(launch, limit)
    try:
        store = _meet(launch, limit)
        if launch.size > 1:
            choose_interface(store, launch.rank, launch.size, os.environ["MASTER_ADDR"])
        hosts = _connect(limit, partial(_join, launch, store, place))
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"rank {launch.rank} of {launch.size} could not reach the other ranks at {meeting_place()} within {limit} "
            f"(--rendezvous_timeout): {_first_line(error)}"
        ) from error
    finally:
        waiting.cancel()
    watch = RankWatch(store, launch.rank, launch.size, heartbeat_timeout) if launch.size > 1 else None
    atexit.register(_leave_alone, watch)
    world = World(launch.rank, launch.size, place, hosts, watch, limit)
    _preflight(world, limit)
    return world


def _say_if_late(launch: Launch, limit: timedelta) -> threading.Timer:
    """Print, after a while and well before the limit, where this process waits: the address may be a wrong one."""

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
    # A process that sees a single GPU was given it by its launcher (srun --gpus-per-task=1), whatever its local rank.
    # Where that is not so and processes would share the GPU, _check_owners says it.
    index = int(kind.partition(":")[2] or (0 if count == 1 else local_rank))
    if index >= count:
        raise UserError(
            f"--device {name}: this process needs GPU {index}, but only {count} are visible: expected one GPU per "
            "process of the machine, or a single visible GPU per process (srun --gpus-per-task=1)"
        )
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


def _meet(launch: Launch, limit: timedelta) -> Any:
    """Wait until every process has come to the address that the launcher named; one alone needs none."""
    if launch.size == 1:
        return dist.HashStore()  # type: ignore[attr-defined]
    store, *_ = next(rendezvous("env://", launch.rank, launch.size, timeout=limit))
    # torchrun's store outlives a run: in it are the addresses of the process groups of the run before, and its end.
    return dist.PrefixStore(f"adamae-start-{next(_starts)}", store)  # type: ignore[attr-defined]


def _join(launch: Launch, store: Any, place: torch.device) -> dist.ProcessGroup | None:
    """Make the default group; return the hosts' own on GPUs.

    None stands for the default group: to refer to it would keep it alive beyond its end. Gloo connects in here, NCCL at
    its first exchange.
    """
    on_gpus = place.type == "cuda"
    dist.init_process_group(
        "nccl" if on_gpus else "gloo", store=store, rank=launch.rank, world_size=launch.size, timeout=_PATIENCE
    )
    return dist.new_group(backend="gloo", timeout=_PATIENCE) if on_gpus else None


def _connect(limit: timedelta, join: Callable[[], T]) -> T:
    """``join()``: gloo would wait for connections that cannot be made as long as for any later answer.

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
    """Exchange one number, so that a blocked network is a message now and not silence later."""
    if world.size == 1:
        return
    try:
        dist.monitored_barrier(group=world._hosts, timeout=limit, wait_all_ranks=True)
    except RuntimeError as error:
        raise UserError(
            f"rank {world.rank}: not every rank responded within {limit} (--rendezvous_timeout): {_first_line(error)}"
        ) from error
    if world.device.type == "cuda":
        _check_owners(world)
        _check_gpus(world, limit)


def _check_owners(world: World) -> None:
    """Make sure that no two processes have the same GPU: NCCL would end with a message that few understand."""
    gpu = str(torch.cuda.get_device_properties(world.device).uuid)
    owners = [str(rank) for rank, other in enumerate(world.gather(gpu)) if other == gpu]
    if len(owners) > 1:
        raise UserError(
            f"ranks {', '.join(owners)} share the GPU {gpu} of {socket.gethostname()}: expected one GPU per process"
        )


def _check_gpus(world: World, limit: timedelta, group: Any = None) -> None:
    """Exchange one number over NCCL, whose first call blocks without a limit of its own."""
    total = torch.ones((), device=world.device)

    def exchange() -> None:
        torch.cuda.set_device(world.device)
        dist.all_reduce(total, group=group)
        torch.cuda.synchronize()

    try:
        heard, why = finishes_within(limit, exchange) and total.item() == world.size, "NCCL"
    except RuntimeError as error:
        heard, why = False, f"NCCL: {_first_line(error)}"
    if not heard:
        raise UserError(
            f"rank {world.rank}: the GPUs could not communicate within {limit} ({why}); "
            "set NCCL_DEBUG=INFO for details, NCCL_SOCKET_IFNAME to choose the network interface"
        )


def _leave_alone(watch: RankWatch | None) -> None:
    """What :meth:`World.close` does, for a process that ends by an error: without waiting for the others.

    NCCL's groups may wait for them all the same, and do not abort: they are left to the system.
    """
    if not dist.is_initialized():
        return
    if watch is not None:
        watch.give_up()
    if dist.get_backend() == "gloo":
        gc.collect()
        dist.destroy_process_group()


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
