"""Report of a preparation, as text and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from adamae.data.preparation.journal import Part
from adamae.data.preparation.problems import KINDS, Problems
from adamae.data.split_names import SPLITS
from adamae.files import write_whole
from adamae.plain_text import counted


@dataclass(frozen=True)
class Report:
    """Result of :func:`prepare.prepare`.

    Attributes:
        out: The output folder.
        layout: Name of the data set's layout.
        noun: "video" or "image".
        part: The part of the work that this call did.
        complete: Whether all parts are done and the lists are written.
        found: Number of video files.
        listed: Number of videos in the label files.
        planned: Number of listed videos whose file exists.
        done: Number of planned videos in the lists or, before there are lists, re-encoded.
        rows: Number of rows of each list.
        classes: Class names, label 0 first.
        counts: (3, C) number of videos of each split and class in the lists; None before there are lists.
        notes: Notes, one sentence each.
        problems: All problems found.
        bytes_before: Total size of the planned videos.
        bytes_after: Total size of the re-encoded videos; None if nothing is re-encoded.
        frames: (n,) numbers of frames of the re-encoded videos.
        seconds: (n,) durations of the re-encoded videos.
    """

    out: Path
    layout: str
    noun: str
    part: Part
    complete: bool
    found: int
    listed: int
    planned: int
    done: int
    rows: dict[str, int]
    classes: tuple[str, ...]
    counts: np.ndarray | None
    notes: tuple[str, ...]
    problems: Problems
    bytes_before: int
    bytes_after: int | None = None
    frames: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    seconds: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @property
    def name(self) -> str:
        """Name of the report's files, without suffix."""
        return "report" if self.complete else f"report-{self.part}"

    def as_dict(self) -> dict[str, Any]:
        """Return the complete report as JSON values."""
        kinds = self.problems.counts()
        return {
            "layout": self.layout,
            "part": f"{self.part.number}/{self.part.of}",
            "complete": self.complete,
            "videos": {"found": self.found, "listed": self.listed, "planned": self.planned, "done": self.done, **kinds},
            "lists": self.rows,
            "classes": self._classes(),
            "durations": self._durations(),
            "bytes": {"before": self.bytes_before, "after": self.bytes_after},
            "notes": list(self.notes),
            "problems": [problem._asdict() for problem in self.problems],
        }

    def render(self, examples: int) -> str:
        """Return the report as text.

        Args:
            examples: Number of problems to print of each kind.
        """
        return "\n".join([*self._summary(), *self._told_problems(examples)])

    def write(self) -> None:
        """Write ``report.json`` and ``report.txt``.

        Raises:
            OSError: They cannot be written.
        """
        content = json.dumps(self.as_dict(), indent=1)
        write_whole(self.out / f"{self.name}.json", content.encode() + b"\n")
        write_whole(self.out / f"{self.name}.txt", self.render(50).encode("utf-8", "backslashreplace") + b"\n")

    def _classes(self) -> dict[str, Any]:
        if self.counts is None:
            return {"count": len(self.classes)}
        names = self.classes or tuple(str(number) for number in range(self.counts.shape[1]))
        return {
            "count": len(names),
            "without_training_video": [names[number] for number in np.flatnonzero(self.counts[0] == 0)],
            "videos": {
                name: dict(zip(SPLITS, map(int, column), strict=True))
                for name, column in zip(names, self.counts.T, strict=True)
            },
        }

    def _durations(self) -> dict[str, float] | None:
        if not self.seconds.size:
            return None
        return {
            "hours": round(float(self.seconds.sum()) / 3600, 3),
            "shortest_seconds": round(float(self.seconds.min()), 3),
            "median_seconds": round(float(np.median(self.seconds)), 3),
            "longest_seconds": round(float(self.seconds.max()), 3),
            "frames": int(self.frames.sum()),
        }

    def _summary(self) -> Iterator[str]:
        yield f"{self.out}: {self.done} of {self.planned} {self.noun}s ready" + (
            "" if self.complete else f", those of part {self.part.number}/{self.part.of} among them"
        )
        yield f"  {self.noun + 's':<10} {self.found} found, {self.listed} listed, {self.planned} both"
        for name, rows in self.rows.items():
            yield f"  {name + '.csv':<14} {counted(rows, self.noun)}"
        if self.counts is not None and self.counts.size:
            lacking = int((self.counts[0] == 0).sum())
            without = f", {lacking} without a training {self.noun} (fine-tuning wants one of each)" if lacking else ""
            yield f"  classes    {self.counts.shape[1]}{without}"
        if durations := self._durations():
            yield (
                f"  durations  {durations['hours']:.2f} hours, {durations['frames']} frames; seconds of a video: "
                f"{durations['shortest_seconds']:.1f} to {durations['longest_seconds']:.1f}, "
                f"median {durations['median_seconds']:.1f}"
            )
        after = "" if self.bytes_after is None else f", {_megabytes(self.bytes_after)} after"
        yield f"  size       {_megabytes(self.bytes_before)} before{after}"
        yield from (f"  note: {note}" for note in self.notes)

    def _told_problems(self, examples: int) -> Iterator[str]:
        for kind, count in self.problems.counts().items():
            if count:
                yield f"  {count} x {kind}: {KINDS[kind]}"
                told = self.problems.of_kind(kind)[:examples]
                yield from (f"      {problem.place}: {problem.reason}" for problem in told)
                if count > examples:
                    yield f"      and {count - examples} more"
        if len(self.problems):
            yield f"  all {len(self.problems)} of them: {self.out / f'{self.name}.json'}"


def _megabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 10**10 else f"{size / 1e6:.1f} MB"
