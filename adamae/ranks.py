"""When one rank of a run ends by an error, the others end too.

They would notice by themselves only where they wait for it over gloo. Over NCCL they would wait half an hour.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import Any

import torch.distributed as dist

# Seconds between two looks at whether another rank is gone.
_POLL_SECONDS = 1.0
# What another rank's end breaks tells more than we do, and so does an error that all ranks have: time for either.
_GRACE = 5.0
# How long a process that ends by an error may take to be gone; a group that waits for others is not waited for.
_LAST_SECONDS = 8
_ENDED = "ended"
_EXIT = "exit-requested"
# Who holds the place where the ranks meet.
_STORE_LOST = "rank 0, or the launcher,"


class RankWatch:
    """Watches from a thread of its own whether a rank has ended by an error, and if so ends this process.

    Args:
        store: Where the ranks met.
        rank: This one.
        size: How many ranks there are.

    Attributes:
        exit_requested: Whether a rank asks all to exit, as seen within the last second.
    """

    def __init__(self, store: Any, rank: int, size: int) -> None:
        self._store = dist.PrefixStore("adamae-ranks", store)  # type: ignore[attr-defined]
        self._rank = rank
        self._size = size
        self._over = threading.Event()
        self._asks = False
        self.exit_requested = False
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no more: all ranks have come to the end."""
        self._over.set()
        self._thread.join(timeout=_GRACE)

    def request_exit(self) -> None:
        """Ask all ranks to exit; they see it within a second or two. Safe in a signal handler."""
        self._asks = True

    def give_up(self) -> None:
        """Say that this rank ends by an error, and because of whom; and see to it that it ends."""
        if hasattr(signal, "alarm"):
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(_LAST_SECONDS)
        who = self._ended()
        # An exception that ended the interpreter: of errors that a person can mend, the message has said all.
        if who is None and getattr(sys, "last_type", None) is not None:
            who = self._silent()
            if who is not None:
                self._say(f"{who} no longer responds: killed, or its machine is gone")
        elif who is not None:
            self._say(f"{who} has ended")
        self.close()
        if self._ended() is None:
            self._store.set(_ENDED, f"rank {self._rank}")

    def _look(self) -> None:
        for count in itertools.count():
            self._beat(count)
            self._pass_on()
            if self._over.wait(_POLL_SECONDS):
                return
            who = self._ended()
            if who is not None:
                if not self._over.wait(_GRACE):
                    self._say(f"{who} has ended")
                    os._exit(1)
                return

    def _say(self, why: str) -> None:
        print(f"adamae: rank {self._rank} exits because {why}", file=sys.stderr, flush=True)

    def _beat(self, count: int) -> None:
        # Where the store is gone, the next question finds that out.
        with suppress(RuntimeError):
            self._store.set(f"beat-{self._rank}", str(count))

    def _pass_on(self) -> None:
        with suppress(RuntimeError):
            if self._asks:
                self._store.set(_EXIT, "")
            self.exit_requested = self._store.check([_EXIT])

    def _silent(self) -> str | None:
        """The ranks whose watch has stopped, which is what a killed process leaves."""
        try:
            before = self._beats()
            time.sleep(2 * _POLL_SECONDS)
            after = self._beats()
        except RuntimeError:
            return _STORE_LOST
        silent = [str(rank) for rank, beat in before.items() if after[rank] == beat and rank != self._rank]
        return f"rank{'s' if len(silent) > 1 else ''} {', '.join(silent)}" if silent else None

    def _beats(self) -> dict[int, bytes]:
        ranks = [rank for rank in range(self._size) if self._store.check([f"beat-{rank}"])]
        return {rank: self._store.get(f"beat-{rank}") for rank in ranks}

    def _ended(self) -> str | None:
        """Which rank said that it ends."""
        try:
            return self._store.get(_ENDED).decode() if self._store.check([_ENDED]) else None
        except RuntimeError:
            return _STORE_LOST
