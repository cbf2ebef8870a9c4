"""A trial: a function in a process of its own, with the result "survived" or "lost" and a reason."""

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

# Promised limit of resident memory.
MEMORY_LIMIT_BYTES = 2 * 1024**3
_LEAVING_SECONDS = 10.0


class LostError(Exception):
    """The promise did not hold; the message is the reason."""


@dataclass(frozen=True)
class Trial:
    """A trial of a promise with one kind of fault.

    Attributes:
        name: Description of the fault, unique within its promise.
        body: Function of an empty folder; raises :class:`LostError` if the promise does not hold.
        seconds: Time limit. A trial that exceeds it is lost, and its processes are killed.
    """

    name: str
    body: Callable[[Path], None]
    seconds: float = 900.0


@dataclass(frozen=True)
class Result:
    """Result of a trial.

    Attributes:
        promise: Name of the promise.
        trial: Name of the trial.
        reason: Reason why the trial was lost; None if it survived.
        seconds: Duration of the trial.
    """

    promise: str
    trial: str
    reason: str | None
    seconds: float

    def line(self) -> str:
        """Format the result as JSON."""
        return json.dumps(asdict(self))


def run_trials(promise: str, trials: Iterable[Trial], jobs: int = 1, until: float | None = None) -> Iterator[Result]:
    """Run trials, ``jobs`` at a time, and yield each result when the trial ends.

    Args:
        promise: Name of the promise in the results.
        trials: Trials to run.
        jobs: Number of parallel trials.
        until: Time of :func:`time.monotonic` after which no trial starts.
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
    """Return the running processes that a trial has started, without the trial's own."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError):
            # The fields after the name, which may contain any character: state, parent, group, session.
            state, _, _, its_session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(its_session) == session and int(entry.name) != session and state != "Z":
                found.append(int(entry.name))
    return found


class _Running:
    """A running trial."""

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
        """Return the result, or None while the trial is running."""
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
        # Helper processes of multiprocessing end shortly after the process that started them.
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
