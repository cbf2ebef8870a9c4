"""What a scan has found so far, line by line, so that one that was stopped goes on where it was."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import TracebackType

# A video's frames, those and its damaged packets, or why it cannot be used.
Finding = int | tuple[int, int] | str


class ScanJournal:
    """Findings by the videos' keys; see :func:`~adamae.data.frame_counts.video_key`.

    A journal of a scan with other settings is begun anew. A line that was cut off is passed over.

    Args:
        path: The file.
        settings: How is scanned.

    Attributes:
        found: What was in it.

    Raises:
        OSError: It cannot be read or written.
    """

    def __init__(self, path: Path, settings: dict[str, str | bool]) -> None:
        self.found: dict[int, Finding] = {}
        self._path = path
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
        goes_on = bool(lines) and _parsed(lines[0]) == settings
        for line in lines[1:] if goes_on else ():
            match _parsed(line):
                case [int(key), int() | str() as finding]:
                    self.found[key] = finding
                case [int(key), [int(frames), int(damaged)]]:
                    self.found[key] = frames, damaged
        self._file = path.open("a" if goes_on else "w", encoding="utf-8")
        # What was cut off must not swallow the next line; an empty one does no harm.
        self._file.write("\n" if goes_on else json.dumps(settings) + "\n")
        self._file.flush()

    def add(self, key: int, finding: Finding) -> None:
        """Write down a finding."""
        self._file.write(json.dumps([key, finding]) + "\n")
        self._file.flush()

    def remove(self) -> None:
        """The scan is complete and its results are written."""
        self._path.unlink(missing_ok=True)

    def __enter__(self) -> ScanJournal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the file back."""
        os.fsync(self._file.fileno())
        self._file.close()


def _parsed(line: str) -> object:
    try:
        return json.loads(line)
    except ValueError:
        return None
