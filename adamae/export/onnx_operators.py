"""Operators of the networks that torch's ONNX exporter does not support."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def onnx_operators() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return the ``custom_translation_table`` for ``torch.onnx.export``: stable sorts.

    ONNX's ``TopK`` puts the lower index first among equal values in both directions, so a ``TopK`` over all values of
    an axis is a stable sort.
    """
    from onnxscript import opset18 as op

    def ranked(x: Any, dim: int, descending: bool) -> tuple[Any, Any]:
        length = op.Gather(op.Shape(x), op.Constant(value_ints=[dim]))
        values, order = op.TopK(x, length, axis=dim, largest=int(descending))
        return values, order

    def sort_stable(x: Any, *, stable: bool | None = None, dim: int = -1, descending: bool = False) -> tuple[Any, Any]:
        if x.dtype.is_floating_point():
            return ranked(x, dim, descending)
        # onnxruntime has no TopK for bytes and booleans.
        values, order = ranked(op.Cast(x, to=7), dim, descending)
        return op.Cast(values, to=x.dtype), order

    return {torch.ops.aten.sort.stable: sort_stable}
