"""Many small file system requests in parallel: over a network, each takes a millisecond of waiting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

# Called with the number of files done and the total, or None while the total is unknown.
ScanProgress = Callable[[int, int | None], None]
# Threads wait for the file system, not for a core.
THREADS = 16
# Maximum number of items in a task: half a million single tasks in a pool would not fit into memory.
_PORTION = 1000
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def in_threads(
    function: Callable[[_Item], _Result],
    items: Sequence[_Item],
    progress: ScanProgress | None = None,
) -> list[_Result]:
    """Apply a function to n items in several threads and return the results in order.

    Args:
        function: Called with an item, from any thread.
        items: The n items.
        progress: Called from this thread with the number of items done, and n.
    """
    portion = max(min(len(items) // THREADS, _PORTION), 1)
    portions = [items[begin : begin + portion] for begin in range(0, len(items), portion)]
    results: list[_Result] = []
    pool = ThreadPoolExecutor(min(THREADS, max(len(portions), 1)))
    try:
        for some in pool.map(lambda part: [function(item) for item in part], portions):
            results += some
            if progress is not None:
                progress(len(results), len(items))
    finally:
        # After an interrupt, do not wait for the remaining tasks.
        pool.shutdown(wait=False, cancel_futures=True)
    return results
