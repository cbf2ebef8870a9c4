"""What several processes hold and exchange, computed from the number of parameters: no process is started."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_FLOAT = 4
# Bytes after which DDP closes its first bucket, and each further one: its defaults, which the torch engine keeps.
_DDP_FIRST, _DDP_BUCKET = 2**20, 25 * 2**20
_MOMENTS = 2
# Gbit per second and machine that estimates are given for.
NETWORKS = (100, 200, 400)


@dataclass(frozen=True)
class Distribution:
    """A run on several machines; weights, gradients and moments are float32 in every precision.

    Attributes:
        parameters: That are trained.
        buffers: Bytes of the model's buffers.
        processes: Over all machines.
        nodes: Machines.
        zero_stage: 0 without DeepSpeed and for its stage 0: nothing is sharded.
        bucket: Numbers that DeepSpeed's stages 1 and 2 exchange at once.
        buckets: All-reduces that the gradients of one backward pass take.
        passes: Micro-batches of a step.
    """

    parameters: int
    buffers: int
    processes: int
    nodes: int
    zero_stage: int = 0
    bucket: int = 0
    buckets: int = 1
    passes: int = 1

    @property
    def weights(self) -> int:
        """Bytes of one process."""
        return _FLOAT * self.parameters

    @property
    def gradients(self) -> int:
        """Bytes of one process; stage 2 keeps its shard alone."""
        return _FLOAT * (self._shard if self.zero_stage == 2 else self.parameters)

    @property
    def optimizer(self) -> int:
        """Bytes of one process: both moments, and under stages 1 and 2 a copy of the weights that are updated."""
        if self.zero_stage == 0:
            return _FLOAT * _MOMENTS * self.parameters
        return _FLOAT * (_MOMENTS + 1) * self._shard

    @property
    def exchange_buffers(self) -> int:
        """Bytes of what gradients are put together in; DDP's buckets are the gradients themselves."""
        return _FLOAT * min(self.bucket, self.parameters) if self.zero_stage else 0

    @property
    def held(self) -> int:
        """Bytes of one process besides activations."""
        return self.weights + self.gradients + self.optimizer + self.exchange_buffers + self.buffers

    @property
    def exchanged(self) -> int:
        """Bytes of the gradients, which all processes reduce."""
        return _FLOAT * self.parameters * self._exchanges if self.processes > 1 else 0

    @property
    def all_reduces(self) -> int:
        """All-reduces of a step: those of the gradients, and under ZeRO 1 and 2 that of their norm."""
        return self.buckets * self._exchanges + (self.zero_stage > 0) if self.processes > 1 else 0

    @property
    def gathered(self) -> int:
        """Bytes of the updated weights, of which under ZeRO 1 and 2 each process has a shard and gathers the others."""
        return _FLOAT * self.parameters if self.processes > 1 and self.zero_stage else 0

    @property
    def sent(self) -> int:
        """Bytes that one process sends in a step by a ring.

        A ring of n adds up in n - 1 steps of one n-th and hands the results round in as many. DeepSpeed adds up and
        hands round the gradients under stages 1 and 2 too, although a process needs its shard alone, and then hands
        round the updated weights: half as much again as without ZeRO.
        """
        return (2 * self.exchanged + self.gathered) * (self.processes - 1) // self.processes

    def network_seconds(self, gigabits: float) -> float:
        """Of a step's exchange between machines, where each has one connection; 0 on a single machine."""
        return 8 * self.sent / (gigabits * 1e9) if self.nodes > 1 else 0.0

    @property
    def _exchanges(self) -> int:
        """How often gradients are reduced in a step: stage 2 keeps only its shard of them, so for each micro-batch."""
        return self.passes if self.zero_stage == 2 else 1

    @property
    def _shard(self) -> int:
        return -(-self.parameters // self.processes)


def ddp_buckets(parameters: Sequence[int]) -> int:
    """Buckets in which DDP exchanges gradients: each is closed once it is full.

    Args:
        parameters: Numbers in each parameter, in the model's order; gradients arrive about in the opposite one.
    """
    closed, filled, size = 0, 0, _DDP_FIRST
    for numbers in reversed(parameters):
        filled += _FLOAT * numbers
        if filled >= size:
            closed, filled, size = closed + 1, 0, _DDP_BUCKET
    return closed + (filled > 0)


def deepspeed_buckets(parameters: Sequence[int], bucket: int) -> int:
    """Buckets in which DeepSpeed exchanges gradients: each takes as many as fit.

    Args:
        parameters: Numbers in each parameter. Another order may make a bucket more or less.
        bucket: Numbers in a bucket, more than in any parameter.
    """
    count = filled = 0
    for numbers in parameters:
        if not count or filled + numbers > bucket:
            count, filled = count + 1, 0
        filled += numbers
    return count
