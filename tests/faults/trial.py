"""One trial: a function in a process of its own, which survives or is lost for a reason."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

# The promise on resident memory.
MEMORY_LIMIT_BYTES = 2 * 1024**3
_LEAVING_SECONDS = 10.0


class LostError(Exception):
    """The promise did not hold; the message says in what."""


@dataclass(frozen=True)
class Trial:
    """One way to break something.

    Attributes:
        name: What is done, unique within its promise.
        body: Called with an empty folder; raises :class:`LostError` where the promise does not hold.
        seconds: How long it may take. What does not end is lost, and its processes are killed.
    """

    name: str
    body: Callable[[Path], None]
    seconds: float = 900.0


@dataclass(frozen=True)
class Result:
    """How a trial went.

    Attributes:
        promise: Name of the promise.
        trial: Name of the trial.
        reason: Why it was lost; None: it survived.
        seconds: How long it took.
    """

    promise: str
    trial: str
    reason: str | None
    seconds: float

    def line(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))


def run_trials(promise: str, trials: Iterable[Trial], jobs: int = 1, until: float | None = None) -> Iterator[Result]:
    """Run trials, ``jobs`` at a time; their results come as they end.

    Args:
        promise: Name for the results.
        trials: What to run.
        jobs: How many at a time.
        until: No trial starts after this moment of :func:`time.monotonic`.
    """
    waiting, running = iter(trials), []
    ended = False
    while True:
        while not ended and len(running) < jobs:
            trial = None if until is not None and time.monotonic() > until else next(waiting, None)
            if trial is None:
                ended = True
            else:
                running.append(_Running(promise, trial))
        if not running:
            return
        select.select([each.reader for each in running], [], [], 0.2)
        for each in list(running):
            result = each.result()
            if result is not None:
                running.remove(each)
                yield result


def processes_of_session(session: int) -> list[int]:
    """Processes that a trial started and that are still there, the trial's own aside."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError):
            # After the name, which may hold anything: state, parent, group, session.
            state, _, _, its_session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(its_session) == session and int(entry.name) != session and state != "Z":
                found.append(int(entry.name))
    return found


class _Running:
    """A trial that is under way."""

    def __init__(self, promise: str, trial: Trial) -> None:
        self._promise, self._trial = promise, trial
        self._folder = Path(tempfile.mkdtemp(prefix="adamae-fault-"))
        self._begun = time.monotonic()
        self.reader, writer = os.pipe()
        self._process = os.fork()
        if not self._process:
            os.close(self.reader)
            _in_fork(trial, self._folder, writer)
        os.close(writer)

    def result(self) -> Result | None:
        """How it went; None as long as it goes on."""
        seconds = time.monotonic() - self._begun
        done, status = os.waitpid(self._process, os.WNOHANG)
        if not done:
            if seconds < self._trial.seconds:
                return None
            reason: str | None = f"did not end within {self._trial.seconds:g} s"
            os.kill(self._process, signal.SIGKILL)
            os.waitpid(self._process, 0)
        else:
            os.set_blocking(self.reader, False)
            try:
                reason = json.loads(os.read(self.reader, 1 << 16))
            except (OSError, ValueError):
                reason = f"its process ended with {os.waitstatus_to_exitcode(status)}"
        for process in processes_of_session(self._process):
            with suppress(OSError):
                os.kill(process, signal.SIGKILL)
        os.close(self.reader)
        shutil.rmtree(self._folder, ignore_errors=True)
        return Result(self._promise, self._trial.name, reason, round(seconds, 2))


def _in_fork(trial: Trial, folder: Path, writer: int) -> None:
    os.setsid()
    reason: str | None = None
    try:
        trial.body(folder)
        # Those of multiprocessing that serve others end a moment after who started them.
        until = time.monotonic() + _LEAVING_SECONDS
        while (left := processes_of_session(os.getpid())) and time.monotonic() < until:
            time.sleep(0.05)
        if left:
            raise LostError(f"left {len(left)} processes behind")
    except LostError as error:
        reason = str(error)
    except BaseException:
        reason = traceback.format_exc(limit=-6)
    with suppress(OSError):
        os.write(writer, json.dumps(None if reason is None else reason[-8000:]).encode())
    os._exit(0)
