"""The device of a tensor, for layers and losses that use different operations on CPU and GPU."""

from __future__ import annotations

import torch
from torch import Tensor

# Patched by benchmark/gpu_choices.py to run the GPU's operations on CPU tensors.
_CPU = "cpu"


def on_cpu(x: Tensor) -> bool:
    """Whether the operations of ``x`` run on a CPU."""
    return x.device.type == _CPU


def can_read(x: Tensor) -> bool:
    """Whether the host can look at values of ``x`` without waiting for a device, and outside of a traced graph."""
    return not torch.compiler.is_compiling() and type(x) is Tensor and on_cpu(x)
