"""Distribution of videos over ranks, and their loading: every video exactly once, for any number of ranks."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import torch

from adamae.data.views import VideoViews
from adamae.data.watched_loader import watched_batches
from adamae.distributed import World

Video = dict[str, Any]


def groups_of_rows(num_rows: int, size: int, world: World) -> list[list[int]]:
    """Return this rank's groups of rows: group g of ``size`` consecutive rows belongs to rank g modulo the world size.

    The videos of a group are one batch. Groups do not depend on the number of ranks, so neither does the rounding of
    the results. No row is left out or repeated; the last group may be smaller.
    """
    starts = range(world.rank * size, num_rows, world.size * size)
    return [list(range(start, min(start + size, num_rows))) for start in starts]


def load_groups(
    dataset: VideoViews, groups: list[list[int]], *, num_workers: int = 0, pin_memory: bool = False
) -> Generator[list[Video], None, None]:
    """Load the videos of each group once, even if one hangs or crashes its worker. Closing it ends the workers.

    Args:
        dataset: Videos with all their views.
        groups: Rows of each group.
        num_workers: Decoding processes; 0 decodes in this process.
        pin_memory: Pin views in memory for asynchronous copies to a GPU.

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
