"""The device of a tensor, for layers and losses that use different operations on CPU and GPU."""

from __future__ import annotations

from torch import Tensor

# Patched by benchmark/gpu_choices.py to run the GPU's operations on CPU tensors.
_CPU = "cpu"


def on_cpu(x: Tensor) -> bool:
    """Whether the operations of ``x`` run on a CPU."""
    return x.device.type == _CPU
