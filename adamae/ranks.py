"""When one rank of a run ends by an error, the others end too.

They would notice by themselves only where they wait for it over gloo. Over NCCL they would wait half an hour.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

import torch.distributed as dist

# Seconds between two looks at whether another rank is gone.
_POLL_SECONDS = 1.0
# What another rank's end breaks tells more than we do, and so does an error that all ranks have: time for either.
_GRACE = 5.0
# How long a process that ends by an error may take to be gone; a group that waits for others is not waited for.
_LAST_SECONDS = 8
_ENDED = "ended"


class RankWatch:
    """Watches from a thread of its own whether a rank has ended by an error, and if so ends this process.

    Args:
        store: Where the ranks met.
        rank: This one.
    """

    def __init__(self, store: Any, rank: int) -> None:
        self._store = dist.PrefixStore("adamae-ranks", store)  # type: ignore[attr-defined]
        self._rank = rank
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no more: all ranks have come to the end."""
        self._over.set()
        self._thread.join(timeout=_GRACE)

    def give_up(self) -> None:
        """Say that this rank ends by an error, and see to it that it does."""
        if hasattr(signal, "alarm"):
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(_LAST_SECONDS)
        self.close()
        if self._ended() is None:
            self._store.set(_ENDED, f"rank {self._rank}")

    def _look(self) -> None:
        while not self._over.wait(_POLL_SECONDS):
            who = self._ended()
            if who is not None:
                if not self._over.wait(_GRACE):
                    print(f"adamae: rank {self._rank} exits because {who} has ended", file=sys.stderr, flush=True)
                    os._exit(1)
                return

    def _ended(self) -> str | None:
        """Which rank said that it ends."""
        try:
            return self._store.get(_ENDED).decode() if self._store.check([_ENDED]) else None
        except RuntimeError:
            return "rank 0, or the launcher,"
