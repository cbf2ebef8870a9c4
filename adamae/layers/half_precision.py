"""Half precision by hand, where what autocast does costs accuracy on a CPU or memory traffic on a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from adamae.layers.devices import on_cpu

_HALF = (torch.bfloat16, torch.float16)


def half_on_cpu(x: Tensor) -> bool:
    """Whether ``x`` is in half precision and its operations run on a CPU."""
    return x.dtype in _HALF and on_cpu(x)


def half_on_gpu(x: Tensor) -> bool:
    """Whether ``x`` is in half precision and its operations run on another device."""
    return x.dtype in _HALF and not on_cpu(x)


@contextmanager
def without_autocast(x: Tensor) -> Iterator[torch.dtype]:
    """Compute in the types as they are, inside of an autograd function.

    Casts are then made by :func:`cast_together`. Autocast would make one for each tensor and, on torch 2.6, keep copies
    that are made inside of an autograd function, where they have no gradient, and hand them to a plain layer that reads
    the same weight afterwards.

    Yields:
        The type that autocast, where it was active, gives to products with ``x``.
    """
    device = x.device.type
    if not (torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)):
        yield x.dtype
        return
    torch.set_autocast_enabled(device, False)
    try:
        yield x.dtype if x.dtype == torch.float64 else torch.get_autocast_dtype(device)
    finally:
        torch.set_autocast_enabled(device, True)


def cast_together(*wanted: tuple[Tensor | None, torch.dtype]) -> list[Any]:
    """Tensors in other types, without gradients: on a GPU in one kernel for all that go from one type to another.

    Args:
        *wanted: Tensors, each with the type that it should have; None stays None.
    """
    result: list[Any] = []
    groups: dict[tuple[torch.dtype, torch.dtype], tuple[list[Tensor], list[Tensor]]] = {}
    for tensor, dtype in wanted:
        if tensor is None or tensor.dtype == dtype:
            result.append(tensor)
            continue
        result.append(torch.empty_like(tensor, dtype=dtype))
        targets, sources = groups.setdefault((tensor.dtype, dtype), ([], []))
        targets.append(result[-1])
        sources.append(tensor)
    for targets, sources in groups.values():
        torch._foreach_copy_(targets, sources)
    return result
