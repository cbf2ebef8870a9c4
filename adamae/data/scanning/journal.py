"""What a scan has found so far, line by line, so that one that was stopped goes on where it was."""

from __future__ import annotations

from pathlib import Path

from adamae.json_lines import JsonLines

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
        self._lines = JsonLines(path)
        first, *others = [*self._lines.read()] or [None]
        if first != settings:
            path.unlink(missing_ok=True)
            self._lines.append([settings])
            return
        for line in others:
            match line:
                case [int(key), int() | str() as finding]:
                    self.found[key] = finding
                case [int(key), [int(frames), int(damaged)]]:
                    self.found[key] = frames, damaged

    def add(self, key: int, finding: Finding) -> None:
        """Write down a finding."""
        self._lines.append([[key, finding]])

    def remove(self) -> None:
        """The scan is complete and its results are written."""
        self._lines.path.unlink(missing_ok=True)
