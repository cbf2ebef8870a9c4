"""Fixed positions."""

from __future__ import annotations

import torch
from torch import Tensor


def sinusoid_table(num_positions: int, dim: int) -> Tensor:
    """The sine and cosine table over the flattened token index.

    Entry (i, j) is sin(a) for even j and cos(a) for odd j with a = i / 10000^(2 * (j // 2) / dim). The paper
    speaks of three-dimensional positions; the code behind its numbers counts tokens in one dimension.

    Returns:
        (1, num_positions, dim) float32, rounded from float64.
    """
    position = torch.arange(num_positions, dtype=torch.float64).unsqueeze(1)
    exponent = 2 * (torch.arange(dim) // 2).to(torch.float64) / dim
    angle = position / torch.pow(torch.tensor(10000.0, dtype=torch.float64), exponent)
    table = torch.where(torch.arange(dim) % 2 == 0, angle.sin(), angle.cos())
    return table.unsqueeze(0).to(torch.float32)
