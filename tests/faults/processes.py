"""Run commands in forks of this process, as a shell or a launcher would start them."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.trial import LostError
from tests.launching import ranks_environment

# Called with the rank in the new process, before its command, to arm faults.
Before = Callable[[int], object]


@dataclass(frozen=True)
class Ended:
    """Result of a process.

    Attributes:
        code: Exit code; negative for a signal.
        told: Standard error.
        out: Standard output.
    """

    code: int
    told: str
    out: str

    @property
    def last(self) -> str:
        """Last line of standard error."""
        return next(reversed(self.told.strip().splitlines()), "")


class Process:
    """A fork that runs a function and ends as an interpreter does.

    Args:
        action: Function that returns the exit code.
        folder: Folder of the files with standard output and error.
        name: Name of these files.
        environment: Environment variables; None: those of this process.
    """

    def __init__(
        self, action: Callable[[], int], folder: Path, name: str = "0", environment: Mapping[str, str] | None = None
    ) -> None:
        self._out, self._told = folder / f"out-{name}", folder / f"told-{name}"
        self._code: int | None = None
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if not self.pid:
            code = 1
            try:
                for number, path in ((1, self._out), (2, self._told)):
                    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                # The parent may have closed or replaced its streams.
                sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
                sys.stderr = open(2, "w", errors="backslashreplace", closefd=False)  # noqa: SIM115
                if environment is not None:
                    os.environ.clear()
                    os.environ.update(environment)
                code = _as_program(action)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)

    def code(self) -> int | None:
        """Return the exit code, or None while the process is running."""
        if self._code is None:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code

    def send(self, number: int) -> None:
        """Send a signal to the process."""
        if self.code() is None:
            os.kill(self.pid, number)

    def told(self) -> str:
        """Return the standard error so far."""
        return self._told.read_text(errors="surrogateescape") if self._told.exists() else ""

    def wait(self, seconds: float = 300.0) -> Ended:
        """Wait for the process to end.

        Raises:
            LostError: If it did not end in time; the process is killed.
        """
        deadline = time.monotonic() + seconds
        while self.code() is None:
            if time.monotonic() > deadline:
                self.send(signal.SIGKILL)
                os.waitpid(self.pid, 0)
                self._code = -signal.SIGKILL
                raise LostError(f"did not end within {seconds:g} s: {self.told()[-600:]}")
            time.sleep(0.01)
        return Ended(self.code() or 0, self.told(), self._out.read_text(errors="surrogateescape"))


def _as_program(action: Callable[[], int]) -> int:
    """Run a function, then do what an interpreter does at exit."""
    code = 1
    try:
        code = action()
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException as error:
        traceback.print_exc()
        # The interpreter sets these as well.
        sys.last_type, sys.last_value = type(error), error
    atexit._run_exitfuncs()
    threading._shutdown()  # type: ignore[attr-defined]
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def start(
    words: Sequence[str | Path],
    folder: Path,
    size: int = 1,
    before: Before | None = None,
    environment: Mapping[str, str] | None = None,
) -> list[Process]:
    """Start ``adamae WORDS`` in ``size`` processes."""
    from adamae.cli.main import main

    def action(rank: int) -> int:
        if before is not None:
            before(rank)
        return main([str(word) for word in words])

    places = ranks_environment(size) if size > 1 else [dict(os.environ)]
    return [
        Process(lambda rank=rank: action(rank), folder, str(rank), {**place, **(environment or {})})  # type: ignore[misc]
        for rank, place in enumerate(places)
    ]


def run(
    words: Sequence[str | Path],
    folder: Path,
    size: int = 1,
    before: Before | None = None,
    seconds: float = 300.0,
    environment: Mapping[str, str] | None = None,
) -> list[Ended]:
    """Run ``adamae WORDS`` in ``size`` processes until they end."""
    return [process.wait(seconds) for process in start(words, folder, size, before, environment)]


def expect(ended: Sequence[Ended], code: int = 0) -> None:
    """Raise LostError unless all processes ended with ``code``."""
    for rank, each in enumerate(ended):
        if each.code != code:
            raise LostError(f"rank {rank} ended with {each.code}, expected {code}: {each.told[-1500:]}")


def expect_one_line(ended: Ended, *parts: str) -> None:
    """Raise LostError unless a command ended with code 2 and one line of error that contains ``parts``."""
    if ended.code != 2 or "Traceback" in ended.told:
        raise LostError(f"ended with {ended.code}, expected 2 and one line: {ended.told[-1500:]}")
    errors = [line for line in ended.told.splitlines() if line.startswith("adamae: error: ")]
    if len(errors) != 1 or ended.last != errors[0]:
        raise LostError(f"expected one line of error at the end: {ended.told[-1500:]}")
    for part in parts:
        if part not in errors[0]:
            raise LostError(f"the message lacks {part!r}: {errors[0]}")
