"""Run the operations that torch would run on a GPU, on CPU tensors without values.

A build of torch without CUDA has no backward pass for CUDA tensors, not even without values. The devices differ in few
points: autocast's lists of operations, the dropout kernel, and our own choice of attention for few keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

# Operations that autocast computes in float32 on a GPU but not on a CPU, according to torch's documentation of autocast
# and as far as training steps use them.
_FLOAT32 = (
    "exp",
    "layer_norm",
    "log",
    "log1p",
    "native_layer_norm",
    "pow.Tensor_Scalar",
    "pow.Tensor_Tensor",
    "reciprocal",
    "rsqrt",
)
# Operations that read half precision and write float32 in one kernel.
_FLOAT32_RESULT = ("cumsum", "linalg_vector_norm", "sum", "sum.dim_IntList")
_SOFTMAXES = {"softmax.int": "_softmax", "log_softmax.int": "_log_softmax"}
_HALF = (torch.bfloat16, torch.float16)


@contextmanager
def gpu_choices() -> Iterator[None]:
    """Context manager in which steps on CPU tensors without values use the operations of a GPU."""
    library = torch.library.Library("aten", "IMPL")
    try:
        for name in _FLOAT32:
            library.impl(name, _in_float32(_overload(name)), "AutocastCPU")
        for name in _FLOAT32_RESULT:
            library.impl(name, _to_float32(_overload(name)), "AutocastCPU")
        for name, kernel in _SOFTMAXES.items():
            library.impl(name, _softmax(getattr(torch.ops.aten, kernel).default), "AutocastCPU")
        library.impl("dropout", _fused_dropout, "AutogradCPU")
        # Disables what our layers and losses do only on a CPU.
        with patch("adamae.layers.devices._CPU", ""):
            yield
    finally:
        library._destroy()


def _overload(name: str) -> Any:
    packet, _, overload = name.partition(".")
    return getattr(getattr(torch.ops.aten, packet), overload or "default")


def _in_float32(operation: Any) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        with _without_autocast():
            args, kwargs = tree_map(_raised, (args, kwargs))
            return operation(*args, **kwargs)

    return run


def _to_float32(operation: Any) -> Callable[..., Any]:
    def run(x: Tensor, *args: Any, **kwargs: Any) -> Any:
        with _without_autocast():
            if x.dtype in _HALF and kwargs.get("dtype") is None:
                kwargs["dtype"] = torch.float32
            return operation(x, *args, **kwargs)

    return run


def _softmax(kernel: Any) -> Callable[..., Tensor]:
    def run(x: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
        with _without_autocast():
            result: Tensor = kernel(x, dim, x.dtype in _HALF and dtype in (None, torch.float32))
            return result if dtype is None else result.to(dtype)

    return run


def _without_autocast() -> Any:
    return torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCPU))


def _raised(x: Any) -> Any:
    return x.float() if isinstance(x, Tensor) and x.dtype in _HALF else x


def _fused_dropout(x: Tensor, p: float, train: bool) -> Tensor:
    """Apply dropout with a kernel that keeps its mask, as on a GPU."""
    return torch.native_dropout(x, p, train)[0] if train and p > 0 else x
