"""Journal of the re-encoded videos, one line each, from which an interrupted call continues.

Each part of the work has its own journal beside the lists; all of them are read. A line is valid as long as the
source's size and modification time and the result's size are those in the line.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from adamae.errors import UserError
from adamae.file_locks import lock
from adamae.json_lines import JsonLines

# Seconds.
_MOMENT = 0.1


@dataclass(frozen=True)
class Outcome:
    """Outcome of re-encoding one video.

    Attributes:
        source: Path of the source below the source folder.
        size: Size of the source in bytes.
        changed: Modification time of the source in nanoseconds.
        bytes: Size of the result in bytes; 0 without a result.
        frames: Number of frames.
        seconds: Duration from the start of the first frame to the end of the last.
        damaged: Number of damaged packets that were skipped.
        reason: Why there is no result; empty if there is one.
        lost: Whether the process was lost or exceeded the time limit, which may not be caused by the video: the next
            call retries it.
    """

    source: str
    size: int
    changed: int
    bytes: int = 0
    frames: int = 0
    seconds: float = 0.0
    damaged: int = 0
    reason: str = ""
    lost: bool = False


@dataclass(frozen=True)
class Part:
    """A part of the work.

    Attributes:
        number: Number of the part, from 1.
        of: Number of parts.
    """

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Part:
        """Parse ``i/n``.

        Raises:
            UserError: If the text has another form.
        """
        number, slash, of = text.partition("/")
        if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise UserError(f"--part: got {text!r}, expected I/N with 1 <= I <= N, for example 2/8")
        return cls(int(number), int(of))

    def __str__(self) -> str:
        return f"{self.number}of{self.of}"


def journal_name(part: Part) -> str:
    """Return the file name of a part's journal in the output folder."""
    return f"journal-{part}.jsonl"


def _journals(folder: Path) -> Iterator[Path]:
    return folder.glob("journal-*.jsonl")


def read_journals(folder: Path) -> Iterator[Outcome]:
    """Iterate over the lines of all journals, the newest journal last. Truncated lines are skipped."""
    for path in sorted(_journals(folder), key=lambda path: (path.stat().st_mtime_ns, path.name)):
        yield from filter(None, map(_outcome, JsonLines(path).read()))


def _outcome(line: Any) -> Outcome | None:
    try:
        return Outcome(**line)
    except TypeError:
        return None


class Journal:
    """A part's journal, open for appending by one process at a time.

    Args:
        folder: The output folder.
        part: The part.

    Raises:
        UserError: Another process has the journal open.
        OSError: It cannot be written.
    """

    def __init__(self, folder: Path, part: Part) -> None:
        path = folder / journal_name(part)
        # Kept open for its lock.
        self._file = path.open("ab")
        # Another part that looks whether this one is in progress locks the file for a moment, too.
        locked = lock(self._file)
        if not locked:
            time.sleep(_MOMENT)
            locked = lock(self._file)
        if not locked:
            self._file.close()
            what = f"part {part.number}/{part.of}"
            raise UserError(f"{folder}: another process works at {what}; wait until it ends")
        self._lines = JsonLines(path)

    def add(self, outcome: Outcome) -> None:
        """Append the outcome of a video."""
        self._lines.append([asdict(outcome)])

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file, which releases the lock."""
        self._file.close()


def is_in_progress(folder: Path) -> bool:
    """Return whether a process has a journal open; False on a file system without locks."""
    for path in _journals(folder):
        with path.open("rb") as file:
            if not lock(file, shared=True):
                return True
    return False


@contextmanager
def alone_at_the_end(manifest: Path) -> Iterator[None]:
    """Within this context no other process writes the lists; wait for one that does.

    Args:
        manifest: The file with the options, which is locked.
    """
    # Opened for writing, since NFS locks no others.
    with manifest.open("r+b") as file:
        lock(file, wait=True)
        yield
