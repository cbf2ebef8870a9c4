"""Which rank looks at which videos, and how they come: every video exactly once, whatever the number of ranks."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import torch

from adamae.data.views import VideoViews
from adamae.data.watched_loader import watched_batches
from adamae.distributed import World

Video = dict[str, Any]


def groups_of_rows(num_rows: int, size: int, world: World) -> list[list[int]]:
    """This rank's groups of rows: group g of ``size`` rows in order belongs to rank g modulo the number of ranks.

    A group is what goes through a network together. Its rows do not depend on the number of ranks, and so neither
    do the last bits of its results. No row is left out and none is repeated: the last group is smaller.
    """
    starts = range(world.rank * size, num_rows, world.size * size)
    return [list(range(start, min(start + size, num_rows))) for start in starts]


def load_groups(
    dataset: VideoViews, groups: list[list[int]], *, num_workers: int = 0, pin_memory: bool = False
) -> Generator[list[Video], None, None]:
    """The videos of each group, each once, even where one hangs or crashes its worker. Closing it ends the workers.

    Args:
        dataset: Videos with all their views.
        groups: Their rows.
        num_workers: Processes that decode; 0 decodes in this one.
        pin_memory: Keep views in memory that a GPU reads directly.

    Yields:
        Items of the data set.
    """
    return watched_batches(
        dataset,
        lambda number: groups[number:],
        watch=dataset.watch,
        collate=list,
        num_workers=num_workers,
        pin_memory=pin_memory and torch.cuda.is_available(),
    )
