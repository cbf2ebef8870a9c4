"""Where a tensor's operations run, for layers and losses that take other operations on a CPU than on a GPU."""

from __future__ import annotations

from torch import Tensor

# Replaced where steps on a CPU's tensors are to have a GPU's operations (benchmark/gpu_choices.py).
_CPU = "cpu"


def on_cpu(x: Tensor) -> bool:
    """Whether the operations of ``x`` run on a CPU."""
    return x.device.type == _CPU
