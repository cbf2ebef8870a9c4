"""The results of a scan, as text and as JSON."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adamae.data.decoding.damage import CUT_OFF, describe_loss
from adamae.plain_text import counted

_NUMBERS = re.compile(r"\d[\d.]*")
_MOST_REASONS = 12


@dataclass(frozen=True)
class BadVideo:
    """A video that cannot be used.

    Attributes:
        row: Its row in the list, from 0.
        path: The file.
        reason: Reason in one line.
    """

    row: int
    path: str
    reason: str

    @property
    def is_cut_off(self) -> bool:
        """Whether the file ends too early and should be downloaded or copied again."""
        return self.reason.startswith(CUT_OFF)


@dataclass(frozen=True)
class DamagedVideo:
    """A good video with damaged packets, which are skipped.

    Attributes:
        row: Its row in the list, from 0.
        path: The file.
        packets: Number of damaged packets among those that were read.
    """

    row: int
    path: str
    packets: int


@dataclass(frozen=True)
class ScanReport:
    """Results of :func:`~adamae.data.scanning.scan.scan`.

    Attributes:
        videos: Number of videos in the list.
        noun: Kind of the videos: "video" or "image".
        frames: Total number of frames of the good videos.
        bad: Videos that cannot be used, in the order of the list.
        damaged: Good videos with damaged packets, in the order of the list.
        decoded: Number of videos decoded by this call; the others were already known.
        seconds: Duration of this call.
        written: Files that were written, in this order.
    """

    videos: int
    noun: str
    frames: int
    bad: tuple[BadVideo, ...]
    damaged: tuple[DamagedVideo, ...]
    decoded: int
    seconds: float
    written: tuple[Path, ...]

    @property
    def cut_off(self) -> int:
        """Number of bad videos that are cut off."""
        return sum(video.is_cut_off for video in self.bad)

    @property
    def reasons(self) -> list[tuple[str, int, str]]:
        """Each reason without its numbers, its count, and an example; the most common first."""
        occurrences = Counter(_kind(video.reason) for video in self.bad)
        first: dict[str, str] = {}
        for video in self.bad:
            first.setdefault(_kind(video.reason), video.path)
        return [(reason, count, first[reason]) for reason, count in occurrences.most_common()]

    def as_dict(self) -> dict[str, Any]:
        """Return the report as a dict for JSON."""
        return {
            "videos": self.videos,
            "good": self.videos - len(self.bad),
            "frames": self.frames,
            "decoded": self.decoded,
            "seconds": self.seconds,
            "cut_off": self.cut_off,
            "bad": [{**vars(video), "cut_off": video.is_cut_off} for video in self.bad],
            "damaged": [vars(video) for video in self.damaged],
            "written": [str(path) for path in self.written],
        }

    def render(self) -> str:
        """Return the report as a few lines of text for the terminal."""
        good = self.videos - len(self.bad)
        known = "" if self.decoded == self.videos else f"; {self.videos - self.decoded} were already known"
        cut_off = f", of which {self.cut_off} cut off" if self.cut_off else ""
        lines = [
            f"{counted(self.videos, self.noun)}: {good} good with {self.frames} frames, {len(self.bad)} bad{cut_off}",
            f"{self.decoded} decoded in {self.seconds:.1f} s, {self.decoded / self.seconds:.1f} a second{known}",
            *(f"  {count:6d}  {reason}, for example {path}" for reason, count, path in self.reasons[:_MOST_REASONS]),
        ]
        if len(self.reasons) > _MOST_REASONS:
            lines.append(
                f"          and {len(self.reasons) - _MOST_REASONS} more reasons, see the list of bad {self.noun}s"
            )
        if self.damaged:
            first = self.damaged[0]
            told = f"{first.path}: {describe_loss(first.packets)}"
            lines.append(f"  {len(self.damaged):6d}  good {self.noun}s are damaged but readable, for example {told}")
        return "\n".join([*lines, *(f"wrote {path}" for path in self.written)])


def _kind(reason: str) -> str:
    return _NUMBERS.sub("N", reason)
