"""Many small questions to a file system at once: over a network each answer takes a millisecond of waiting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

# Called with how many files were looked at, and how many there are, or None while nobody knows.
ScanProgress = Callable[[int, int | None], None]
# Waiting for a file system, not for a core.
THREADS = 16
# Of half a million single tasks a pool would remember more than fits the memory.
_PORTION = 1000
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def in_threads(
    function: Callable[[_Item], _Result],
    items: Sequence[_Item],
    progress: ScanProgress | None = None,
) -> list[_Result]:
    """What a function gives for each of n items, in their order, by several threads.

    Args:
        function: Called from any thread.
        items: Its arguments.
        progress: Called from this thread with how many are done, and n.
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
        # A person who wants to leave does not wait for what is left.
        pool.shutdown(wait=False, cancel_futures=True)
    return results
