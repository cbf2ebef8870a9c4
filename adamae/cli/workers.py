"""Number of workers of the commands that use the whole machine."""

from __future__ import annotations

from adamae.cores import usable_cores


def one_per_core(asked: int | None) -> int:
    """Return the number of workers: ``asked``; None: one per core that this process may use."""
    return usable_cores() if asked is None else asked
