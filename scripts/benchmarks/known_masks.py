"""Boolean masks without values whose number of masked tokens is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary


class KnownMasks(TorchDispatchMode):
    """Gives ``x[mask]`` and ``x[~mask]`` a shape on tensors without values, where it would depend on the values.

    Args:
        hidden: Number of True values in a mask (B, N) of masked tokens; the remaining values are True in its inverse.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self._hidden = hidden
        self._inverted = WeakIdKeyDictionary()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation with indices instead of masks; conditions on values are assumed to be true."""
        name = func.overloadpacket.__name__
        if name == "_local_scalar_dense":
            return True
        if name in ("index", "index_put", "index_put_", "_index_put_impl_"):
            args = (args[0], self._indices(args[1]), *args[2:])
        result = func(*args, **(kwargs or {}))
        if name == "bitwise_not":
            self._inverted[result] = True
        return result

    def _indices(self, given: Sequence[Tensor | None]) -> list[Tensor | None]:
        indices: list[Tensor | None] = []
        for one in given:
            if one is None or one.dtype != torch.bool:
                indices.append(one)
                continue
            count = one.numel() - self._hidden if one in self._inverted else self._hidden
            indices += [torch.empty(count, dtype=torch.int64, device=one.device) for _ in range(one.dim())]
        return indices


def with_known_masks(step: Callable[[], None], clips: Tensor, hidden: int) -> Callable[[], None]:
    """Return a step that also runs on tensors without values.

    Args:
        step: Step that indexes with masks.
        clips: Clips that the step runs on.
        hidden: Number of masked tokens in all clips together.
    """
    if not isinstance(clips, FakeTensor):
        return step

    def run() -> None:
        with KnownMasks(hidden):
            step()

    return run
