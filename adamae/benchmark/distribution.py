"""Memory and communication of distributed training, computed from the number of parameters without any process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_FLOAT = 4
# Bytes after which DDP closes its first and each further bucket: DDP's defaults, which the torch engine uses.
_DDP_FIRST, _DDP_BUCKET = 2**20, 25 * 2**20
_MOMENTS = 2
# Network speeds in Gbit per second and machine for which estimates are printed.
NETWORKS = (100, 200, 400)


@dataclass(frozen=True)
class Distribution:
    """A run on several machines; weights, gradients and moments are float32 in every precision.

    Attributes:
        parameters: Number of trainable parameters.
        buffers: Bytes of the model's buffers and of weights that are not trained.
        processes: Processes over all machines.
        nodes: Number of machines.
        zero_stage: ZeRO stage; 0 without DeepSpeed. Stage 0 shards nothing.
        bucket: Numbers that DeepSpeed's stages 1 and 2 exchange at a time.
        buckets: All-reduces of the gradients of one backward pass.
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
        """Bytes of the weights of one process."""
        return _FLOAT * self.parameters

    @property
    def gradients(self) -> int:
        """Bytes of the gradients of one process; stage 2 keeps only its shard."""
        return _FLOAT * (self._shard if self.zero_stage == 2 else self.parameters)

    @property
    def optimizer(self) -> int:
        """Bytes of the optimiser state of one process: both moments, and under stages 1 and 2 a weight shard."""
        if self.zero_stage == 0:
            return _FLOAT * _MOMENTS * self.parameters
        return _FLOAT * (_MOMENTS + 1) * self._shard

    @property
    def exchange_buffers(self) -> int:
        """Bytes of the buffers for exchanging gradients; DDP's buckets are the gradients themselves."""
        return _FLOAT * min(self.bucket, self.parameters) if self.zero_stage else 0

    @property
    def held(self) -> int:
        """Bytes of one process without activations."""
        return self.weights + self.gradients + self.optimizer + self.exchange_buffers + self.buffers

    @property
    def exchanged(self) -> int:
        """Bytes of the gradients that all processes reduce in a step."""
        return _FLOAT * self.parameters * self._exchanges if self.processes > 1 else 0

    @property
    def all_reduces(self) -> int:
        """All-reduces of a step: those of the gradients, and under ZeRO 1 and 2 that of their norm."""
        return self.buckets * self._exchanges + (self.zero_stage > 0) if self.processes > 1 else 0

    @property
    def gathered(self) -> int:
        """Bytes of the updated weights, which under ZeRO 1 and 2 are sharded and gathered by each process."""
        return _FLOAT * self.parameters if self.processes > 1 and self.zero_stage else 0

    @property
    def sent(self) -> int:
        """Bytes that one process sends in a step with ring communication.

        A ring of n processes reduces in n - 1 steps of one n-th each, and distributes the results in as many. Under
        stages 1 and 2 DeepSpeed also distributes the gradients to all processes, although each needs only its shard,
        and then gathers the updated weights: 1.5 times the traffic of training without ZeRO.
        """
        return (2 * self.exchanged + self.gathered) * (self.processes - 1) // self.processes

    def network_seconds(self, gigabits: float) -> float:
        """Seconds of a step's communication between machines, with one connection each; 0 on a single machine."""
        return 8 * self.sent / (gigabits * 1e9) if self.nodes > 1 else 0.0

    @property
    def _exchanges(self) -> int:
        """How often gradients are reduced in a step: once per micro-batch under stage 2, which keeps only its shard."""
        return self.passes if self.zero_stage == 2 else 1

    @property
    def _shard(self) -> int:
        return -(-self.parameters // self.processes)


def ddp_buckets(parameters: Sequence[int]) -> int:
    """Return the number of buckets in which DDP exchanges gradients; a bucket is closed once it is full.

    Args:
        parameters: Sizes of the parameters in the model's order; gradients arrive in about the reverse order.
    """
    closed, filled, size = 0, 0, _DDP_FIRST
    for numbers in reversed(parameters):
        filled += _FLOAT * numbers
        if filled >= size:
            closed, filled, size = closed + 1, 0, _DDP_BUCKET
    return closed + (filled > 0)


def deepspeed_buckets(parameters: Sequence[int], bucket: int) -> int:
    """Return the number of buckets in which DeepSpeed exchanges gradients; each takes as many as fit.

    Args:
        parameters: Sizes of the parameters. In another order the number of buckets may differ by one.
        bucket: Numbers in a bucket; larger than any parameter.
    """
    count = filled = 0
    for numbers in parameters:
        if not count or filled + numbers > bucket:
            count, filled = count + 1, 0
        filled += numbers
    return count
