"""Cells: blocks of neighbouring tokens of which exactly one is visible, so that the visible ones form a regular grid.

Pyramid encoders with local windows need such masks (UM-MAE, arXiv 2205.10063): the visible tokens, one from each cell,
are put side by side in the order of their cells.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from adamae.errors import UserError
from adamae.grid import TokenGrid
from adamae.randomness import SampleNoise
from adamae.samplers.sampler import Sampler

UniformSampling = Literal["tube", "step", "octet"]


@dataclass(frozen=True)
class CellPattern:
    """The cells of a uniform mask.

    Attributes:
        cell: Tokens of a cell along time, height and width.
        shared_over_time: Whether cells at the same spatial location have the same visible position at all times.
    """

    cell: tuple[int, int, int]
    shared_over_time: bool

    @property
    def size(self) -> int:
        """Tokens in a cell."""
        return math.prod(self.cell)

    def cells(self, grid: TokenGrid) -> tuple[int, int, int]:
        """Cells of a grid along time, height and width.

        Raises:
            UserError: If the grid does not divide into cells.
        """
        for name, tokens, unit in zip(("time", "height", "width"), (grid.t, grid.h, grid.w), self.cell, strict=True):
            if tokens % unit:
                raise UserError(
                    f"{tokens} tokens along {name} do not divide into cells of "
                    f"{'x'.join(map(str, self.cell))} tokens: expected a multiple of {unit}"
                )
        t, h, w = self.cell
        return grid.t // t, grid.h // h, grid.w // w

    def tokens(self, grid: TokenGrid, device: torch.device | None = None) -> Tensor:
        """(cells, K) int64 token indices of each cell; cells, and tokens within a cell, are in raster order."""
        (ct, ch, cw), (t, h, w) = self.cells(grid), self.cell
        tokens = torch.arange(grid.num_tokens, device=device).view(ct, t, ch, h, cw, w)
        return tokens.permute(0, 2, 4, 1, 3, 5).reshape(ct * ch * cw, self.size)

    def cell_of(self, grid: TokenGrid, device: torch.device | None = None) -> Tensor:
        """(N,) int64 index of the cell that contains each token."""
        (ct, ch, cw), (t, h, w) = self.cells(grid), self.cell
        cells = torch.arange(ct * ch * cw, device=device).view(ct, 1, ch, 1, cw, 1)
        return cells.expand(ct, t, ch, h, cw, w).flatten()


PATTERNS: dict[str, CellPattern] = {
    "tube": CellPattern((1, 2, 2), shared_over_time=True),
    "step": CellPattern((1, 2, 2), shared_over_time=False),
    "octet": CellPattern((2, 2, 2), shared_over_time=False),
}


def cell_pattern(uniform_sampling: str) -> CellPattern:
    """Return the cell pattern of a value of ``--uniform_sampling``.

    Raises:
        UserError: If there is no such pattern.
    """
    if uniform_sampling not in PATTERNS:
        raise UserError(f"uniform_sampling = {uniform_sampling!r}: expected one of {', '.join(PATTERNS)}")
    return PATTERNS[uniform_sampling]


class CellSampler(Sampler):
    """A sampler with one visible token in each cell; a fraction of them is replaced by a mask token (secondary mask).

    Args:
        mask_ratio: Mask ratio of the cells: 0.75, or 0.875 for cells of two times.
        uniform_sampling: "tube": cells of 2x2 tokens with the same visible position at all times; "step": a separate
            position at each time; "octet": cells of 2x2x2 tokens.
        secondary_mask_ratio: Fraction of the visible tokens that are replaced by a learned token; 0.25 in UM-MAE.

    Raises:
        UserError: If a ratio is not possible, or ``uniform_sampling`` is unknown.
    """

    def __init__(self, mask_ratio: float, uniform_sampling: str, secondary_mask_ratio: float) -> None:
        super().__init__(mask_ratio)
        self.uniform_sampling = uniform_sampling
        self.pattern = cell_pattern(uniform_sampling)
        if not 0 <= secondary_mask_ratio < 1:
            raise UserError(f"secondary_mask_ratio = {secondary_mask_ratio}: expected at least 0 and below 1")
        self.secondary_mask_ratio = secondary_mask_ratio

    @classmethod
    def usual_ratio(cls, **options: object) -> float:
        """Return the only mask ratio that the cells allow."""
        return 1 - 1 / cell_pattern(str(options.get("uniform_sampling", "tube"))).size

    def num_visible(self, grid: TokenGrid) -> int:
        """V, one token for each cell.

        Raises:
            UserError: If the mask ratio is not that of the cells, or the grid does not divide into cells.
        """
        ratio = 1 - 1 / self.pattern.size
        if self.mask_ratio != ratio:
            cell = "x".join(map(str, self.pattern.cell))
            raise UserError(
                f"mask_ratio = {self.mask_ratio}: expected {ratio}, because one token of each cell of {cell} is visible"
            )
        return math.prod(self.pattern.cells(grid))

    def num_secondary(self, grid: TokenGrid) -> int:
        """S = V - int(V * (1 - ratio)); with "tube" computed for one time and multiplied by the number of times.

        Raises:
            UserError: If no visible token is left, or as for :meth:`num_visible`.
        """
        times = grid.t if self.pattern.shared_over_time else 1
        visible = self.num_visible(grid) // times
        left = int(visible * (1 - self.secondary_mask_ratio))
        if not left:
            raise UserError(
                f"secondary_mask_ratio = {self.secondary_mask_ratio} masks all of the {visible} visible tokens: "
                "expected a lower ratio, or more tokens"
            )
        return times * (visible - left)

    def draw_secondary(self, visible: Tensor, grid: TokenGrid, noise: SampleNoise) -> Tensor | None:
        """(B, S) of the visible tokens, every subset equally likely; with "tube" the same positions at all times."""
        return self.secondary_of(visible, grid, noise.uniform(grid.num_tokens)) if self.num_secondary(grid) else None

    def secondary_of(self, visible: Tensor, grid: TokenGrid, scores: Tensor) -> Tensor:
        """The visible tokens with the highest scores.

        Args:
            visible: (B, V) ascending indices.
            grid: The token grid.
            scores: (B, N); with "tube" only those of the first time are used.

        Returns:
            (B, S) ascending token indices.
        """
        count = self.num_secondary(grid)
        times = grid.t if self.pattern.shared_over_time else 1
        candidates = visible[:, : visible.shape[1] // times]
        order = scores.gather(1, candidates).argsort(dim=1, stable=True)
        chosen = candidates.gather(1, order[:, -(count // times) :]).sort(dim=1).values
        starts = torch.arange(times, device=visible.device) * (grid.h * grid.w)
        return (starts.view(1, -1, 1) + chosen.unsqueeze(1)).flatten(1)


def balanced_choices(order: Tensor, cell_size: int, num_cells: int) -> Tensor:
    """Return the visible position of each cell, drawn from a pool in which all positions are equally frequent.

    The draw is without replacement. Row r of the pool stands for the position r mod ``cell_size``.

    Args:
        order: (..., R) the shuffled row indices of a pool of :func:`pool_rows` rows.
        cell_size: Tokens K in a cell.
        num_cells: Number of cells.

    Returns:
        (..., num_cells) int64 below K: TL, TR, BL, BR of a cell of 2x2.
    """
    return order[..., :num_cells] % cell_size


def pool_rows(cell_size: int, num_cells: int) -> int:
    """Number of rows of the pool: twice the number of cells, rounded up to a multiple of ``cell_size``."""
    return cell_size * math.ceil(2 * num_cells / cell_size)
