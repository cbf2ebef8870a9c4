"""Ends all ranks of a run if one of them fails, is killed or hangs.

Without this, the other ranks would only notice when they wait for it over gloo, or after half an hour if it hangs. Over
NCCL they would always wait half an hour.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import torch.distributed as dist

# Seconds between two checks of the other ranks.
_POLL_SECONDS = 1.0
# Seconds for more specific errors to appear first: those that the end of another rank causes here, and those that all
# ranks raise.
_GRACE_SECONDS = 5.0
# Time limit for the exit of a process that ends by an error, in case a process group waits for other ranks. It must not
# be too short: on a busy machine the interpreter needs about ten seconds to exit, and its exit code would be lost.
_EXIT_SECONDS = 20
_FAILURE_KEY = "ended"
_EXIT_KEY = "exit-requested"
# The process that hosts the rendezvous store, in messages.
_STORE_HOLDER = "rank 0, or the launcher,"
_PACKAGE = Path(__file__).parent


class RankWatch:
    """Checks in a background thread whether a rank has ended or hangs, and then ends this process.

    Each rank writes a heartbeat to the store and reads that of the next rank. Timeouts count checks, not clock time, so
    a run that is suspended on all ranks continues afterwards.

    Args:
        store: The store of the rendezvous.
        rank: Rank of this process.
        size: Number of ranks.
        heartbeat_timeout: Seconds without a heartbeat after which a rank counts as dead; 0: never.

    Attributes:
        exit_requested: Whether a rank asks all ranks to exit, as of the last check (about every second).
    """

    def __init__(self, store: Any, rank: int, size: int, heartbeat_timeout: float = 300.0) -> None:
        self._store = dist.PrefixStore("adamae-ranks", store)  # type: ignore[attr-defined]
        self._rank = rank
        self._size = size
        self._max_missed_beats = heartbeat_timeout / _POLL_SECONDS or float("inf")
        self._failure: str | None = None
        self._stopped = threading.Event()
        self._exit_wanted = False
        self.exit_requested = False
        self._beats_sent = 0
        self._threads = [
            threading.Thread(target=each, daemon=True) for each in (self._watch_next_rank, self._watch_store)
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop watching, because all ranks have finished."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(timeout=_GRACE_SECONDS)

    def request_exit(self) -> None:
        """Ask all ranks to exit, which they see within a second or two. Safe in a signal handler."""
        self._exit_wanted = True

    def report_failure(self) -> None:
        """Report that this rank ends by an error and which rank caused it, and make sure that this process ends."""
        _end_within(_EXIT_SECONDS)
        failure = self._published_failure()
        # sys.last_type is set if an exception ended the interpreter, but not after a UserError, whose message suffices.
        if failure is None and getattr(sys, "last_type", None) is not None:
            failure = self._silent_ranks()
            if failure is None and "timed out" in str(sys.last_value).lower():
                self._print_positions()
        if failure is not None:
            self._print(failure)
        self.close()
        if self._published_failure() is None:
            self._publish_failure(failure or f"rank {self._rank} has ended")
        if failure is not None and self._rank == 0:
            # The store may end with this process, so give the others time to read the reason.
            time.sleep(2 * _POLL_SECONDS)
        # Restart the limit, because the checks above took a while.
        _end_within(_EXIT_SECONDS)

    def _watch_next_rank(self) -> None:
        """Send heartbeats and check those of the next rank."""
        next_rank, last, missed = (self._rank + 1) % self._size, None, 0
        for count in itertools.count():
            self._beats_sent = count
            self._write(f"beat-{self._rank}", f"{count} {_position()}")
            self._sync_exit_request()
            if self._stopped.wait(_POLL_SECONDS):
                return
            failure = self._published_failure()
            if failure is not None:
                if not self._stopped.wait(_GRACE_SECONDS):
                    self._exit(failure)
                return
            beat = self._beat_of(next_rank)
            missed = missed + 1 if beat is not None and beat == last else 0
            last = beat
            if missed > self._max_missed_beats:
                failure = f"rank {next_rank} has not responded for {missed * _POLL_SECONDS:.0f} s (--heartbeat_timeout)"
                self._publish_failure(failure)
                # Give the others time to read it, because rank 0 may host the store.
                self._stopped.wait(2 * _POLL_SECONDS)
                self._exit(failure)

    def _watch_store(self) -> None:
        """Watch the other thread, whose calls block forever if the process that hosts the store hangs."""
        sent, missed = 0, 0
        while not self._stopped.wait(_POLL_SECONDS):
            missed = missed + 1 if sent == self._beats_sent else 0
            sent = self._beats_sent
            # Wait longer than the other thread, whose reason is more specific.
            if missed > self._max_missed_beats + 2 * _GRACE_SECONDS / _POLL_SECONDS:
                seconds = missed * _POLL_SECONDS
                self._exit(f"{_STORE_HOLDER} has not responded for {seconds:.0f} s (--heartbeat_timeout)")

    def _exit(self, failure: str) -> None:
        self._print(failure)
        os._exit(1)

    def _print(self, failure: str) -> None:
        print(f"adamae: rank {self._rank} exits because {failure}", file=sys.stderr, flush=True)

    def _publish_failure(self, failure: str) -> None:
        self._failure = self._failure or failure
        self._write(_FAILURE_KEY, failure)

    def _write(self, name: str, value: str) -> None:
        # If the store is gone, the next read reports it.
        with suppress(RuntimeError):
            self._store.set(name, value)

    def _sync_exit_request(self) -> None:
        with suppress(RuntimeError):
            if self._exit_wanted:
                self._store.set(_EXIT_KEY, "")
            self.exit_requested = self._store.check([_EXIT_KEY])

    def _silent_ranks(self) -> str | None:
        """Return a reason with the ranks whose heartbeat has stopped, as after a kill; None if all are alive."""
        everyone = range(self._size)
        try:
            before = self._beats(everyone)
            time.sleep(2 * _POLL_SECONDS)
            after = self._beats(everyone)
        except RuntimeError:
            return f"{_STORE_HOLDER} no longer responds: killed, or its machine is gone"
        silent = [str(rank) for rank, beat in before.items() if after.get(rank) == beat and rank != self._rank]
        if not silent:
            return None
        many = len(silent) > 1
        who = f"rank{'s' * many} {', '.join(silent)} no longer respond{'' if many else 's'}"
        return f"{who}: killed, or {'their machines are' if many else 'its machine is'} gone"

    def _print_positions(self) -> None:
        """Print the position of each rank: all are alive, and the positions show which one the others wait for."""
        with suppress(RuntimeError):
            for rank, beat in self._beats(range(self._size)).items():
                print(f"adamae: rank {rank} is at {beat.decode().partition(' ')[2]}", file=sys.stderr, flush=True)

    def _beat_of(self, rank: int) -> bytes | None:
        # If the store is gone, the next check reports it.
        try:
            return self._beats([rank]).get(rank)
        except RuntimeError:
            return None

    def _beats(self, ranks: Iterable[int]) -> dict[int, bytes]:
        names = {rank: f"beat-{rank}" for rank in ranks}
        return {rank: self._store.get(name) for rank, name in names.items() if self._store.check([name])}

    def _published_failure(self) -> str | None:
        """Return the reason that a rank stored for its end or that of all; None if no rank has ended."""
        try:
            if self._failure is None and self._store.check([_FAILURE_KEY]):
                self._failure = self._store.get(_FAILURE_KEY).decode()
        except RuntimeError:
            return self._failure or f"{_STORE_HOLDER} has ended"
        return self._failure


def _end_within(seconds: int) -> None:
    if hasattr(signal, "alarm"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(seconds)


def _position() -> str:
    """Return the position of the main thread: file, line and function of the package."""
    frame: FrameType | None = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None and _PACKAGE not in Path(frame.f_code.co_filename).parents:
        frame = frame.f_back
    if frame is None:
        return "an unknown place"
    return f"adamae/{Path(frame.f_code.co_filename).relative_to(_PACKAGE)}:{frame.f_lineno}, in {frame.f_code.co_name}"
