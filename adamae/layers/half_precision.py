"""Explicit half precision, where autocast costs accuracy on a CPU or memory traffic on a GPU."""

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


def autocasts(x: Tensor, dtype: torch.dtype) -> bool:
    """Whether autocast is enabled and makes ``x`` and weights of ``dtype`` one dtype; it leaves float64 alone."""
    device = x.device.type
    return (
        torch.float64 not in (x.dtype, dtype)
        and torch.amp.is_autocast_available(device)
        and torch.is_autocast_enabled(device)
    )


@contextmanager
def without_autocast(x: Tensor) -> Iterator[torch.dtype]:
    """Disable autocast inside an autograd function.

    Casts are then made by :func:`cast_together`. Autocast would make one for each tensor. On torch 2.6 it would also
    cache the copies made inside an autograd function, which have no gradient, and return them to a plain layer that
    uses the same weight afterwards.

    Yields:
        The dtype of matrix products with ``x``: that of autocast if it was enabled, else that of ``x``.
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
    """Cast tensors without gradients; on a GPU all casts between the same two dtypes are one kernel.

    Args:
        *wanted: Tensors, each with its target dtype; None stays None.
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
