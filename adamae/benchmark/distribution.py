"""What several processes hold and exchange, computed from the number of parameters: no process is started."""

from __future__ import annotations

from dataclasses import dataclass

_FLOAT = 4
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
    """

    parameters: int
    buffers: int
    processes: int
    nodes: int
    zero_stage: int = 0
    bucket: int = 0

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
        """Bytes of the gradients, which all processes reduce once in a step."""
        return _FLOAT * self.parameters if self.processes > 1 else 0

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
    def _shard(self) -> int:
        return -(-self.parameters // self.processes)
