"""Device operations of a step with their arithmetic and memory traffic, counted on tensors without values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

Kind = Literal["product", "attention", "other"]
BACKWARD, OPTIMIZER = "backward", "optimizer"

# Operations that move no data, in addition to those that the schema marks as views.
_FREE = {
    "_unsafe_view",
    "_reshape_alias",
    "empty",
    "empty_like",
    "empty_strided",
    "new_empty",
    "new_empty_strided",
    "lift_fresh",
    "set_",
}
# Operations whose result does not depend on the values of their input tensor.
_FILLS = {"zeros_like", "ones_like", "full_like", "fill_", "zero_", "new_zeros", "new_full", "new_ones", "random_"}
# Operations that read as much of their first tensor as they write.
_GATHERS = {"gather", "index", "index_select", "embedding"}
# Operations that change as much of their first tensor as the other tensors contain.
_SCATTERS = {"scatter_", "scatter_add_", "index_add_", "index_put_"}
# Operations that fill with zeros first and then write a part.
_PADS = {"slice_backward", "select_backward"}
# Kernels of an operation, if more than one, from torch's CUDA sources.
_LAUNCHES = {
    "native_layer_norm_backward": 2,
    "slice_backward": 2,
    "select_backward": 2,
    "_scaled_dot_product_flash_attention_for_cpu_backward": 3,
    "_scaled_dot_product_flash_attention_backward": 3,
    "convolution_backward": 3,
}
# Number of axes: clips, heads, queries and keys.
_ATTENTION_AXES = 4
# Tensors per launch of a kernel over lists.
_LIST = 36


@dataclass(frozen=True)
class Operation:
    """One operation on the device.

    Attributes:
        name: Name in torch's dispatcher, without the overload.
        part: Part of the step.
        kind: "product" of matrices; "attention": a fused kernel, or the operations between the products of an unfused
            one; or "other".
        dtype: Data type of the computation.
        flop: Floating-point operations of products and attention; 0 for operations that are memory-bound on any device.
        exponentials: Exponentials of the softmax in a fused attention kernel.
        read: Bytes read.
        written: Bytes written.
        launches: Number of kernels.
    """

    name: str
    part: str
    kind: Kind
    dtype: torch.dtype
    flop: int
    exponentials: int
    read: int
    written: int
    launches: int

    @property
    def moved(self) -> int:
        """Bytes read and written."""
        return self.read + self.written


class OperationRecorder(TorchDispatchMode):
    """Records the device operations that run inside of it.

    Args:
        default: Part of forward operations outside of :meth:`part`.

    Attributes:
        operations: Recorded operations in order.
    """

    def __init__(self, default: str) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self._parts = [default]
        self._differentiated = False

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Assign operations inside to a part, unless they are in a backward pass; the innermost name counts."""
        self._parts.append(name)
        try:
            yield
        finally:
            self._parts.pop()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run and record an operation."""
        result = func(*args, **(kwargs or {}))
        counted = count(func, args, kwargs or {}, result, self._current())
        if counted is not None:
            self.operations.append(counted)
        return result

    def _current(self) -> str:
        if torch._C._current_graph_task_id() != -1:
            self._differentiated = True
            return BACKWARD
        # A step has one backward pass, which only the update follows.
        return OPTIMIZER if self._differentiated else self._parts[-1]


def count(func: Any, args: Sequence[Any], kwargs: dict[str, Any], result: Any, part: str) -> Operation | None:
    """Count the cost of one dispatcher operation; None for views, allocations and queries.

    Args:
        func: The overload.
        args: Positional arguments.
        kwargs: Keyword arguments.
        result: Return value.
        part: Part of the step.
    """
    name = func._schema.name.split("::")[-1]
    read, written = _tensors((args, kwargs)), _tensors(result) or _changed(func, args)
    if name in _FREE or is_view(func) or not written:
        return None
    dtype = written[0].dtype
    kind, flop, exponentials = _arithmetic(func, name, args, kwargs, result)
    if kind == "other" and any(_is_attention_matrix(x) for x in (*read, *written)):
        kind = "attention"
    if flop:
        dtype = next(x.dtype for x in read if x.is_floating_point())
    bytes_read, bytes_written = _traffic(func, name, args, kwargs, read, written)
    launches = math.ceil(len(args[0]) / _LIST) if args and isinstance(args[0], (list, tuple)) else 1
    if name == "cat":
        launches = 1
    return Operation(
        name=name,
        part=part,
        kind=kind,
        dtype=dtype,
        flop=flop,
        exponentials=exponentials,
        read=bytes_read,
        written=bytes_written,
        launches=_LAUNCHES.get(name, launches),
    )


def _is_attention_matrix(x: Tensor) -> bool:
    """Whether an operation on ``x`` is part of an unfused attention."""
    return x.dim() == _ATTENTION_AXES and x.shape[-1] == x.shape[-2]


def is_view(func: Any) -> bool:
    """Whether a dispatcher overload returns its input's memory unchanged."""
    returns = func._schema.returns
    return bool(returns) and all(x.alias_info is not None and not x.alias_info.is_write for x in returns)


def _arithmetic(
    func: Any, name: str, args: Sequence[Any], kwargs: dict[str, Any], result: Any
) -> tuple[Kind, int, int]:
    if "scaled_dot_product" in name:
        backward = name.endswith("_backward")
        query, key, value = args[1:4] if backward else args[:3]
        scores = query.shape[:-1].numel() * key.shape[-2]
        width, out_width = query.shape[-1], value.shape[-1]
        # Forward: scores and their product with the values. Backward: the scores again, and the gradients of the
        # weights, the values, the queries and the keys.
        products = 3 * width + 2 * out_width if backward else width + out_width
        return "attention", 2 * scores * products, scores
    if name == "mv":
        return "product", 2 * args[0].numel(), 0
    packet = func.overloadpacket
    if packet in flop_registry:
        formula: Callable[..., int] = flop_registry[packet]
        return "product", int(formula(*args, **kwargs, out_val=result)), 0
    return "other", 0, 0


def _changed(func: Any, args: Sequence[Any]) -> list[Tensor]:
    """Return the tensors that an operation without a return value changes in place."""
    given = zip(func._schema.arguments, args, strict=False)
    return _tensors([x for info, x in given if info.alias_info is not None and info.alias_info.is_write])


def _traffic(
    func: Any, name: str, args: Sequence[Any], kwargs: dict[str, Any], read: list[Tensor], written: list[Tensor]
) -> tuple[int, int]:
    """Bytes read and written."""
    if name in _FILLS:
        return 0, touched(written)
    if name in _GATHERS:
        return touched(written) + touched(read[1:]), touched(written)
    if name in _SCATTERS:
        brought = max((x.numel() for x in read[1:]), default=0) * read[0].element_size()
        return touched(read[1:]) + (brought if "add" in name else 0), brought
    if name in _PADS:
        return touched(read), touched(written) + touched(read)
    if name in ("copy_", "_foreach_copy_"):
        return touched(_tensors(args[1])), touched(written)
    if name == "_fused_adamw_":
        parameters, _, mean, square = args[:4]
        return touched(read), touched([*parameters, *mean, *square])
    given = list(zip(func._schema.arguments, args, strict=False))
    given += [(x, kwargs[x.name]) for x in func._schema.arguments if x.name in kwargs]
    only_written = {id(x) for info, x in given if info.kwarg_only and info.alias_info and info.alias_info.is_write}
    changed = _tensors([x for info, x in given if info.alias_info is not None and info.alias_info.is_write])
    return touched([x for x in read if id(x) not in only_written]), touched(changed or written)


def _tensors(values: Any) -> list[Tensor]:
    return [x for x in tree_leaves(values) if isinstance(x, Tensor)]


def touched(tensors: Sequence[Tensor]) -> int:
    """Return the bytes of some tensors; expanded elements and repeated tensors count once."""
    return sum(_own(x) for x in {id(x): x for x in tensors}.values())


def _own(x: Tensor) -> int:
    shape = (size for size, stride in zip(x.shape, x.stride(), strict=True) if stride or size == 0)
    return math.prod(shape) * x.element_size()
