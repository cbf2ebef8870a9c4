"""When one rank of a run ends by an error, is killed or stands still, the others end too.

They would notice by themselves only where they wait for it over gloo, and of one that stands still after half an hour.
Over NCCL they would wait half an hour in any case.
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

# Seconds between two looks at whether another rank is gone.
_POLL_SECONDS = 1.0
# What another rank's end breaks tells more than we do, and so does an error that all ranks have: time for either.
_GRACE = 5.0
# How long a process that ends by an error may take to be gone; a group that waits for others is not waited for. On a
# busy machine the interpreter itself needs some ten seconds, and its exit code would be lost.
_LAST_SECONDS = 20
_ENDED = "ended"
_EXIT = "exit-requested"
# Who holds the place where the ranks meet.
_STORE_HOLDER = "rank 0, or the launcher,"
_PACKAGE = Path(__file__).parent


class RankWatch:
    """Watches from a thread of its own whether a rank has ended or stands still, and if so ends this process.

    Each rank writes a heartbeat into the store and reads that of the next one. Time is counted in looks and not by the
    clock: a run that is suspended as a whole goes on afterwards.

    Args:
        store: Where the ranks met.
        rank: This one.
        size: How many ranks there are.
        heartbeat_timeout: Seconds without a heartbeat after which a rank is given up; 0: never.

    Attributes:
        exit_requested: Whether a rank asks all to exit, as seen within the last second.
    """

    def __init__(self, store: Any, rank: int, size: int, heartbeat_timeout: float = 300.0) -> None:
        self._store = dist.PrefixStore("adamae-ranks", store)  # type: ignore[attr-defined]
        self._rank = rank
        self._size = size
        self._looks = heartbeat_timeout / _POLL_SECONDS or float("inf")
        self._why: str | None = None
        self._over = threading.Event()
        self._asks = False
        self.exit_requested = False
        self._turns = 0
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._look, self._look_at_store)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Look no more: all ranks have come to the end."""
        self._over.set()
        for thread in self._threads:
            thread.join(timeout=_GRACE)

    def request_exit(self) -> None:
        """Ask all ranks to exit; they see it within a second or two. Safe in a signal handler."""
        self._asks = True

    def give_up(self) -> None:
        """Say that this rank ends by an error, and because of whom; and see to it that it ends."""
        _end_within(_LAST_SECONDS)
        why = self._ended()
        # An exception that ended the interpreter: of errors that a person can mend, the message has said all.
        if why is None and getattr(sys, "last_type", None) is not None:
            why = self._silent()
            if why is None and "timed out" in str(sys.last_value).lower():
                self._say_positions()
        if why is not None:
            self._say(why)
        self.close()
        if self._ended() is None:
            self._tell(why or f"rank {self._rank} has ended")
        if why is not None and self._rank == 0:
            # With this process the store may be gone: the others read first why.
            time.sleep(2 * _POLL_SECONDS)
        # To find all that out took a while.
        _end_within(_LAST_SECONDS)

    def _look(self) -> None:
        next_rank, last, missed = (self._rank + 1) % self._size, None, 0
        for count in itertools.count():
            self._turns = count
            self._write(f"beat-{self._rank}", f"{count} {_position()}")
            self._pass_on()
            if self._over.wait(_POLL_SECONDS):
                return
            why = self._ended()
            if why is not None:
                if not self._over.wait(_GRACE):
                    self._exit(why)
                return
            beat = self._beat_of(next_rank)
            missed = missed + 1 if beat is not None and beat == last else 0
            last = beat
            if missed > self._looks:
                why = f"rank {next_rank} has not responded for {missed * _POLL_SECONDS:.0f} s (--heartbeat_timeout)"
                self._tell(why)
                # The others need a moment to read it, and rank 0 may hold the store.
                self._over.wait(2 * _POLL_SECONDS)
                self._exit(why)

    def _look_at_store(self) -> None:
        """Where the process that holds the store stands still, questions to it have no end."""
        turn, missed = 0, 0
        while not self._over.wait(_POLL_SECONDS):
            missed = missed + 1 if turn == self._turns else 0
            turn = self._turns
            # Of several reasons that of the other thread says more.
            if missed > self._looks + 2 * _GRACE / _POLL_SECONDS:
                seconds = missed * _POLL_SECONDS
                self._exit(f"{_STORE_HOLDER} has not responded for {seconds:.0f} s (--heartbeat_timeout)")

    def _exit(self, why: str) -> None:
        self._say(why)
        os._exit(1)

    def _say(self, why: str) -> None:
        print(f"adamae: rank {self._rank} exits because {why}", file=sys.stderr, flush=True)

    def _tell(self, why: str) -> None:
        self._why = self._why or why
        self._write(_ENDED, why)

    def _write(self, name: str, value: str) -> None:
        # Where the store is gone, the next question finds that out.
        with suppress(RuntimeError):
            self._store.set(name, value)

    def _pass_on(self) -> None:
        with suppress(RuntimeError):
            if self._asks:
                self._store.set(_EXIT, "")
            self.exit_requested = self._store.check([_EXIT])

    def _silent(self) -> str | None:
        """The ranks whose watch has stopped, which is what a killed process leaves."""
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

    def _say_positions(self) -> None:
        """Of ranks that are all alive one is waited for: where each stands shows which."""
        with suppress(RuntimeError):
            for rank, beat in self._beats(range(self._size)).items():
                print(f"adamae: rank {rank} is at {beat.decode().partition(' ')[2]}", file=sys.stderr, flush=True)

    def _beat_of(self, rank: int) -> bytes | None:
        # Where the store is gone, the next look at it finds that out.
        try:
            return self._beats([rank]).get(rank)
        except RuntimeError:
            return None

    def _beats(self, ranks: Iterable[int]) -> dict[int, bytes]:
        names = {rank: f"beat-{rank}" for rank in ranks}
        return {rank: self._store.get(name) for rank, name in names.items() if self._store.check([name])}

    def _ended(self) -> str | None:
        """Why a rank said that it ends, or that all should."""
        try:
            if self._why is None and self._store.check([_ENDED]):
                self._why = self._store.get(_ENDED).decode()
        except RuntimeError:
            return self._why or f"{_STORE_HOLDER} has ended"
        return self._why


def _end_within(seconds: int) -> None:
    if hasattr(signal, "alarm"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(seconds)


def _position() -> str:
    """Where the main thread is: file, line and function of the package."""
    frame: FrameType | None = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None and _PACKAGE not in Path(frame.f_code.co_filename).parents:
        frame = frame.f_back
    if frame is None:
        return "an unknown place"
    return f"adamae/{Path(frame.f_code.co_filename).relative_to(_PACKAGE)}:{frame.f_lineno}, in {frame.f_code.co_name}"
