"""What a scan found, for a person and for a program."""

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
        reason: Why, in one line.
    """

    row: int
    path: str
    reason: str

    @property
    def is_cut_off(self) -> bool:
        """Whether its file ends before it should: to be downloaded or copied again."""
        return self.reason.startswith(CUT_OFF)


@dataclass(frozen=True)
class DamagedVideo:
    """A good video of which something is passed over.

    Attributes:
        row: Its row in the list, from 0.
        path: The file.
        packets: Damaged ones among those that were looked at.
    """

    row: int
    path: str
    packets: int


@dataclass(frozen=True)
class ScanReport:
    """What :func:`~adamae.data.scanning.scan.scan` found.

    Attributes:
        videos: In the list.
        noun: What one of them is: "video" or "image".
        frames: Of all good ones together.
        bad: Those that cannot be used, in the order of the list.
        damaged: Good ones that are read past damage, in the order of the list.
        decoded: Videos that were decoded by this call; of the others it was known.
        seconds: That this call took.
        written: Files, in the order of writing.
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
        """How many of the bad ones are cut off."""
        return sum(video.is_cut_off for video in self.bad)

    @property
    def reasons(self) -> list[tuple[str, int, str]]:
        """Each reason without its numbers, how often it occurs, and an example; the commonest first."""
        occurrences = Counter(_kind(video.reason) for video in self.bad)
        first: dict[str, str] = {}
        for video in self.bad:
            first.setdefault(_kind(video.reason), video.path)
        return [(reason, count, first[reason]) for reason, count in occurrences.most_common()]

    def as_dict(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
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
        """A few lines for the terminal."""
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
