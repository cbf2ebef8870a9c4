"""Preemption: a signal ends the run after the current step, or the current batch of a validation or test."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from adamae.distributed import World
from adamae.launch import PREEMPTION_SIGNALS

# Launchers forward signals that the terminal or Slurm has already sent to all processes; only a later one is new.
_ECHO_SECONDS = 1.0


class Preemption:
    """Remembers a signal and lets all ranks exit at the same step.

    A context manager. All ranks call it once per step; it answers with the votes of the previous step, so no rank waits
    for another. Further signals are ignored, except that a second Ctrl-C ends the process at once. Outside the main
    thread, where Python does not deliver signals, the process's signal handlers are left unchanged.

    Args:
        world: The processes that must agree.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._received = 0
        self._when = 0.0
        self._previous: dict[int, Any] = {}
        self._answer: Callable[[], bool] | None = None

    def __enter__(self) -> Preemption:
        """Install the signal handlers."""
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._receive) for number in PREEMPTION_SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Restore the previous signal handlers."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        if self._answer is not None and error is None:
            self._answer()

    def _receive(self, number: int, _: FrameType | None) -> None:
        if not self._received:
            self._received, self._when = number, time.monotonic()
            self._world.request_exit()
        elif number == signal.SIGINT and time.monotonic() - self._when > _ECHO_SECONDS:
            raise KeyboardInterrupt

    @property
    def name(self) -> str:
        """Name of the signal received by this process, or a note that another process received it."""
        return signal.Signals(self._received).name if self._received else "a signal to another process"

    def requested(self) -> bool:
        """Whether this rank, or another one a second ago, received a signal. Ranks learn of it at different times."""
        return bool(self._received) or self._world.exit_requested

    def agreed(self) -> bool:
        """Return whether all ranks exit now. A collective: every rank must call it at every step."""
        if self._world.size == 1:
            return bool(self._received)
        answer, self._answer = self._answer, self._world.vote(bool(self._received))
        return answer is not None and answer()
