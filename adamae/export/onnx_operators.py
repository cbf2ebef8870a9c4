"""Operators of torch that its ONNX exporter does not know and the networks need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def onnx_operators() -> dict[Callable[..., Any], Callable[..., Any]]:
    """For ``custom_translation_table`` of ``torch.onnx.export``: stable sorts.

    ONNX's ``TopK`` puts the lower index first among equal values in both directions, so that one over all values of
    an axis is a stable sort.
    """
    from onnxscript import opset18 as op

    def ranked(x: Any, dim: int, descending: bool) -> tuple[Any, Any]:
        length = op.Gather(op.Shape(x), op.Constant(value_ints=[dim]))
        return op.TopK(x, length, axis=dim, largest=int(descending))

    def sort_stable(x: Any, *, stable: bool | None = None, dim: int = -1, descending: bool = False) -> tuple[Any, Any]:
        if x.dtype.is_floating_point():
            return ranked(x, dim, descending)
        # Of bytes and booleans the runtime has no TopK.
        values, order = ranked(op.Cast(x, to=7), dim, descending)
        return op.Cast(values, to=x.dtype), order

    return {torch.ops.aten.sort.stable: sort_stable}
