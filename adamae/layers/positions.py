"""Fixed position embeddings."""

from __future__ import annotations

import torch
from torch import Tensor

from adamae.errors import UserError


def sinusoid_table(num_positions: int, dim: int) -> Tensor:
    """Return the sine and cosine table over the flattened token index.

    Entry (i, j) is sin(a) for even j and cos(a) for odd j with a = i / 10000^(2 * (j // 2) / dim). The paper
    describes three-dimensional positions, but the official code uses the one-dimensional token index.

    Returns:
        (1, num_positions, dim) float32, rounded from float64.
    """
    position = torch.arange(num_positions, dtype=torch.float64).unsqueeze(1)
    exponent = 2 * (torch.arange(dim) // 2).to(torch.float64) / dim
    angle = position / torch.pow(torch.tensor(10000.0, dtype=torch.float64), exponent)
    table = torch.where(torch.arange(dim) % 2 == 0, angle.sin(), angle.cos())
    return table.unsqueeze(0).to(torch.float32)


def sincos_2d_table(rows: int, columns: int, dim: int) -> Tensor:
    """Return the two-dimensional sine and cosine table of MAE.

    The first half of the features encodes the column, the second half the row. The first half of each are sines, the
    second half cosines, of position / 10000^(4 * j / dim).

    Returns:
        (1, rows * columns, dim) float32 in raster order, rounded from float64.

    Raises:
        UserError: If ``dim`` is not a multiple of 4.
    """
    if dim % 4:
        raise UserError(f"width {dim}: expected a multiple of 4, for sines and cosines of row and column")
    frequency = 10000.0 ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim / 4))

    def along(length: int) -> Tensor:
        angle = torch.arange(length, dtype=torch.float64).unsqueeze(1) * frequency
        return torch.cat((angle.sin(), angle.cos()), dim=1)

    column = along(columns).expand(rows, -1, -1)
    row = along(rows).unsqueeze(1).expand(-1, columns, -1)
    return torch.cat((column, row), dim=2).flatten(0, 1).unsqueeze(0).to(torch.float32)
