"""What is known about every video that was re-encoded, line by line, so that an interrupted call goes on.

Each part of the work has a journal of its own beside the lists; all of them are read. A line counts for as long as the
source has the size and the time of its last change that the line names, and the result the size.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from adamae.errors import UserError
from adamae.json_lines import JsonLines


@dataclass(frozen=True)
class Outcome:
    """What became of one video.

    Attributes:
        source: Its path below the source folder.
        size: The source's bytes.
        changed: When the source was changed last, in nanoseconds.
        bytes: The result's; 0 if there is none.
        frames: How many.
        seconds: From the first frame to the end of the last.
        damaged: Packets that were passed over.
        reason: Why there is no result; empty if there is one.
        lost: Whether the reason is that the process was lost or took too long, which may be another's fault: the next
            call tries again.
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
    """Which part of the work this is.

    Attributes:
        number: From 1.
        of: How many there are.
    """

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Part:
        """``i/n``.

        Raises:
            UserError: If it is none.
        """
        number, slash, of = text.partition("/")
        if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise UserError(f"--part: got {text!r}, expected I/N with 1 <= I <= N, for example 2/8")
        return cls(int(number), int(of))

    def __str__(self) -> str:
        return f"{self.number}of{self.of}"


def journal_name(part: Part) -> str:
    """A part's journal in the folder of the results."""
    return f"journal-{part}.jsonl"


def read_journals(folder: Path) -> Iterator[Outcome]:
    """The lines of all journals; the last about a video counts. A line that was cut off is passed over."""
    for path in sorted(folder.glob("journal-*.jsonl"), key=lambda path: (path.stat().st_mtime_ns, path.name)):
        yield from filter(None, map(_outcome, JsonLines(path).read()))


def _outcome(line: Any) -> Outcome | None:
    try:
        return Outcome(**line)
    except TypeError:
        return None


class Journal:
    """A part's journal, open for new lines. Only one process at a time may have it open.

    Args:
        folder: Of the results.
        part: Which part.

    Raises:
        UserError: Another process has it.
        OSError: It cannot be written.
    """

    def __init__(self, folder: Path, part: Part) -> None:
        path = folder / journal_name(part)
        # Held for its lock.
        self._file = path.open("ab")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            what = f"part {part.number}/{part.of}"
            raise UserError(f"{folder}: another process works at {what}; wait until it ends") from None
        except OSError:
            pass  # a file system without locks
        self._lines = JsonLines(path)

    def add(self, outcome: Outcome) -> None:
        """Append what became of a video."""
        self._lines.append([asdict(outcome)])

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the file back."""
        self._file.close()
