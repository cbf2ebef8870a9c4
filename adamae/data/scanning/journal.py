"""The findings of a scan so far, line by line, so that an interrupted scan resumes where it stopped."""

from __future__ import annotations

from pathlib import Path

from adamae.json_lines import JsonLines

# Number of frames of a video, numbers of frames and damaged packets, or the reason why it cannot be used.
Finding = int | tuple[int, int] | str


class ScanJournal:
    """Findings by video key; see :func:`~adamae.data.frame_counts.video_key`.

    The journal of a scan with other settings is discarded. A truncated line is skipped.

    Args:
        path: The journal file.
        settings: Settings of the scan.

    Attributes:
        found: Findings read from the file.

    Raises:
        OSError: The file cannot be read or written.
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
        """Append a finding."""
        self._lines.append([[key, finding]])

    def remove(self) -> None:
        """Delete the file once the scan is complete and its results are written."""
        self._lines.path.unlink(missing_ok=True)
