"""Long experiments in pieces: each runs in its own process and writes one JSON file; finished pieces are skipped.

An ``adamae`` run that was interrupted resumes from its last checkpoint, so an experiment can be stopped at any time.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from machine import machine

from adamae.files import publish

HERE = Path(__file__).resolve().parent
# Programs that a piece may run, by the first word of its command; any other word is a script of this folder.
_PROGRAMS = {"adamae": ["-m", "adamae"]}


class StoppedError(Exception):
    """The experiment was asked to stop or its time is over, so no further piece is started."""


class PieceError(Exception):
    """A piece failed, or the folder contains a piece of the same name that was made by another command."""


class Pieces:
    """The pieces of an experiment. Several threads may make pieces of different names.

    Args:
        folder: Output folder; results are written to ``pieces/NAME.json``, standard error to ``logs/NAME.txt``.
        deadline: Time of ``time.monotonic`` after which no piece is started.
    """

    def __init__(self, folder: Path, deadline: float = float("inf")) -> None:
        self.folder = folder
        self._deadline = deadline
        self._stopped = False
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._origin = origin()

    def result(self, name: str) -> dict[str, Any] | None:
        """Return the result of a piece, or None if it is not finished."""
        path = self._path(name)
        return json.loads(path.read_text()) if path.exists() else None

    def seeds(self, name: str) -> list[int]:
        """Return the seeds of the finished pieces ``NAME-SEED`` in ascending order."""
        paths = self._path(f"{name}-0").parent.glob(f"{name}-*.json")
        return sorted(int(seed) for path in paths if (seed := path.stem.removeprefix(f"{name}-")).isdecimal())

    def forget(self, name: str) -> None:
        """Delete the result of a piece, so that it is made again."""
        self._path(name).unlink(missing_ok=True)

    def make(self, name: str, words: Sequence[str], read: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
        """Return the result of a piece, running its command if the piece is not finished.

        Args:
            name: Name of the piece and of its files.
            words: The command: ``adamae`` or a script of this folder, and its arguments.
            read: Function from the command's standard output to the numbers of the result.

        Raises:
            PieceError: If the command fails, or the finished piece was made by another command.
            StoppedError: If the piece is not finished and may not be started, or was interrupted.
        """
        done = self.result(name)
        if done is None:
            if self._stopped or time.monotonic() > self._deadline:
                raise StoppedError(name)
            done = self._run(name, list(words), read)
        if done["command"] != list(words):
            raise PieceError(f"{self._path(name)}: was made by another command; choose another --output_dir")
        return done

    def stop(self) -> None:
        """Ask running pieces to save a checkpoint and end, and start no further ones."""
        self._stopped = True
        with self._lock:
            for process in self._running:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGTERM)

    def _path(self, name: str) -> Path:
        return self.folder / "pieces" / f"{name}.json"

    def _run(self, name: str, words: list[str], read: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
        print(f"{datetime.datetime.now():%H:%M:%S} {name} ...", file=sys.stderr, flush=True)
        log = self.folder / "logs" / f"{name}.txt"
        log.parent.mkdir(parents=True, exist_ok=True)
        program = _PROGRAMS.get(words[0], [str(HERE / words[0])])
        began = time.monotonic()
        with log.open("a") as errors:
            with self._lock:
                if self._stopped:
                    raise StoppedError(name)
                process = subprocess.Popen(
                    [sys.executable, *program, *words[1:]],
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                    env={**os.environ, "OMP_NUM_THREADS": "1"},
                )
                self._running.add(process)
            assert process.stdout is not None
            with process.stdout:
                output = process.stdout.read()
            # Not Popen.wait, which does not return the processor time.
            _, status, usage = os.wait4(process.pid, 0)
            with self._lock:
                self._running.discard(process)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            if self._stopped:
                raise StoppedError(name)
            raise PieceError(f"{name}: exit code {process.returncode}; see {log}")
        result = {
            **read(output),
            "command": words,
            # Times of this call, without those of earlier calls that a resumed run continues.
            "seconds": round(time.monotonic() - began, 1),
            "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
            "date": datetime.date.today().isoformat(),
            **self._origin,
        }
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        publish(path, lambda temporary: temporary.write_text(json.dumps(result, indent=1) + "\n"))
        return result


def origin() -> dict[str, str]:
    """Return the commit of this code and the kind of machine."""

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(HERE), *words], capture_output=True, text=True, check=False).stdout

    commit = git("rev-parse", "--short=10", "HEAD").strip() or "unknown"
    changed = git("status", "--porcelain", "--untracked-files=no", ":/adamae", ":/scripts").strip()
    return {"commit": commit + (" with changes" if changed else ""), "machine": machine()}
