"""LayerNorm with exact gradients in half precision."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LayerNorm(nn.LayerNorm):
    """As torch's, but on a CPU computed in float32 where it is given half precision, as autocast does on a GPU.

    Args:
        dim: Width of what is normalised.
        eps: Added to the variance; the published networks have 1e-6 almost everywhere.
    """

    def __init__(self, dim: int, eps: float = 1e-6) -> None:
        super().__init__(dim, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to the same."""
        return super().forward(x.float()).to(x.dtype) if sums_in_half(x) else super().forward(x)


def sums_in_half(x: Tensor) -> bool:
    """Whether torch adds up the gradients of a LayerNorm of ``x`` in half precision.

    On a CPU it adds them up over all rows in the type of ``x``: in bf16 half of the bias's gradient is lost with some
    thousand rows, and nearly all of it with a hundred thousand.
    """
    return x.device.type == "cpu" and x.dtype in (torch.bfloat16, torch.float16)
