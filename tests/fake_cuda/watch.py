"""Record the device operations of a step and everything that makes the host wait, with file and line."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import adamae

PACKAGE = str(Path(adamae.__file__).parent) + "/"
TESTS = str(Path(__file__).parent) + "/"
# Operations that read a value from the device, or whose output size depends on one.
READS = {
    "_local_scalar_dense",
    "_unique2",
    "bincount",
    "equal",
    "is_nonzero",
    "item",
    "masked_select",
    "nonzero",
    "nonzero_static",
    "unique_consecutive",
    "unique_dim",
}
# Operations without a kernel: they describe memory, or allocate it without writing to it.
NO_KERNEL = {
    "_reshape_alias", "_unsafe_view", "alias", "as_strided", "detach", "device", "diagonal", "empty", "empty_like",
    "empty_strided", "expand", "lift_fresh", "new_empty", "new_empty_strided", "permute", "record_stream", "select",
    "slice", "split", "split_with_sizes", "squeeze", "sym_size", "t", "transpose", "unbind", "unfold", "unsqueeze",
    "view",
}  # fmt: skip


class Watch(TorchDispatchMode):
    """Records the operations that run inside it, under ``fake_cuda()``.

    Attributes:
        waits: "operation at file:line" of everything that makes the host wait or uses tensors of two devices.
        operations: Number of kernels launched on the device, by name.
        by_file: Number of kernels by file of the package; "backward pass" for the backward pass and the optimiser.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []
        self.operations: Counter[str] = Counter()
        self.by_file: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        devices = {tensor.device.type for tensor in read}
        if "cuda" in devices and name == "_local_scalar_dense":
            self.waits.append(f"{name} at {_place()}")
            # Return some number and continue, so that all waits of a step are found at once.
            return 1.0 if read[0].is_floating_point() else 1
        problem = self._problem(name, read, args)
        if problem:
            self.waits.append(f"{problem} at {_place()}")
        out = func(*args, **kwargs)
        written = {leaf.device.type for leaf in tree_leaves(out) if isinstance(leaf, Tensor)}
        if name not in ("copy_", "_to_copy"):
            pass
        elif devices == {"cuda"} and written == {"cpu"}:
            self.waits.append(f"copy to the host at {_place()}")
        elif "cuda" in devices | written and "cpu" in devices and not _non_blocking(args, kwargs):
            self.waits.append(f"copy between host and device that is not non_blocking at {_place()}")
        if "cuda" in devices | written and name not in NO_KERNEL:
            self.operations[name] += 1
            self.by_file[_place().partition(":")[0]] += 1
        return out

    def _problem(self, name: str, read: list[Tensor], args: Any) -> str:
        on_device = any(tensor.device.type == "cuda" for tensor in read)
        if not on_device:
            return ""
        if name in READS:
            return name
        if name in ("index", "index_put", "index_put_", "_index_put_impl_"):
            indices = [index for index in args[1] if index is not None]
            if any(index.dtype in (torch.bool, torch.uint8) for index in indices):
                return "boolean index"
        if name not in ("copy_", "_to_copy") and any(t.device.type != "cuda" and t.dim() for t in read):
            return f"{name} of tensors on two devices"
        return ""


def _non_blocking(args: Any, kwargs: Any) -> bool:
    # The third argument of copy_(self, src, non_blocking).
    return bool(kwargs.get("non_blocking") or (len(args) > 2 and args[2]))


def _place() -> str:
    """Return the innermost running line of the package or of these tests."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(PACKAGE):
            return f"{file.removeprefix(PACKAGE)}:{frame.f_lineno}"
        if file.startswith(TESTS) and not file.endswith("watch.py"):
            return f"{Path(file).name}:{frame.f_lineno}"
        frame = frame.f_back
    return "backward pass"
