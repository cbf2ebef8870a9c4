"""Number of workers of the commands that use the whole machine."""

from __future__ import annotations

import os


def one_per_core(asked: int | None) -> int:
    """Number of workers: ``asked``; None: one per core."""
    return (os.cpu_count() or 1) if asked is None else asked
