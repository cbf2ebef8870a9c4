"""Number of workers of the commands that use the whole machine."""

from __future__ import annotations

import os


def one_per_core(asked: int | None) -> int:
    """Number of workers: ``asked``; None: one per core that this process may use, as Slurm limits them."""
    if asked is not None:
        return asked
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
