"""Kinetics: CSV files with a header; videos are named by their YouTube id, with or without the time."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from sys import intern
from typing import NamedTuple

from adamae.data.list_rows import UNLABELLED
from adamae.data.preparation.label_text import read_lines
from adamae.data.preparation.plan import ListedVideo, Listing, PreparationPlan, match, stem
from adamae.data.preparation.problems import Problems
from adamae.data.preparation.source_tree import SourceTree
from adamae.data.split_names import SPLIT_OF, SPLITS
from adamae.errors import UserError

_TIMED = re.compile(r"(.+)_(\d+)_(\d+)")


class _Row(NamedTuple):
    split: str
    names: tuple[str, ...]
    label: str | None
    file: str
    line: int


def plan_kinetics(tree: SourceTree, split: int, problems: Problems) -> PreparationPlan:
    """See ``layouts``. Classes are taken from the training rows, in alphabetical order.

    Raises:
        UserError: There is no such CSV file, or a row is malformed.
    """
    files = [path for path in tree.label_files if path.suffix.lower() == ".csv"]
    tables = [table for path in files if (table := _open(path, problems))]
    if not tables:
        raise UserError(
            f"no CSV file with a column youtube_id below {tree.root} (or --annotations), expected Kinetics' "
            "label,youtube_id,time_start,time_end,split; without them: adamae prepare folder"
        )
    listing = Listing()
    rows = [row for table in tables for row in table.read(listing.others)]
    rows.sort(key=lambda row: SPLITS.index(row.split))
    training = {row.label for row in rows if row.split == "train" and row.label}
    classes = sorted(training or {row.label for row in rows if row.label})
    listing.classes = tuple(classes)
    labels = {name: number for number, name in enumerate(classes)}
    seen: dict[str, _Row] = {}
    for row in rows:
        place = f"{row.file}:{row.line}"
        if row.label is not None and row.label not in labels:
            reason = f"{row.label!r} is not among the {len(labels)} classes of training; {row.names[0]} is skipped"
            problems.add("unknown_class", place, reason)
            listing.others.update(row.names)
        elif row.names[0] in seen:
            other = seen[row.names[0]]
            problems.add("duplicate", place, f"{row.names[0]} is already listed in {other.file}:{other.line}; skipped")
        else:
            seen[row.names[0]] = row
            label = UNLABELLED if row.label is None else labels[row.label]
            listing.videos.append(ListedVideo(row.split, row.names, label, row.file, row.line))
    return match(listing, tree, problems, name_of=lambda path: _one_spelling(stem(path)))


def _one_spelling(name: str) -> str:
    """Normalise ``ID_10_20`` to ``ID_000010_000020``."""
    timed = _TIMED.fullmatch(name)
    return f"{timed[1]}_{int(timed[2]):06d}_{int(timed[3]):06d}" if timed else name


def _open(path: Path, problems: Problems) -> _Table | None:
    """Open a CSV file of Kinetics; None for any other."""
    lines = read_lines(path)
    _, header = next(lines, (1, ""))
    try:
        names = next(csv.reader([header]), [])
    except csv.Error:
        # A field exceeds the csv module's limit.
        return None
    columns = {name.strip().lower(): at for at, name in enumerate(names)}
    return _Table(path, columns, lines, problems) if "youtube_id" in columns else None


@dataclass(frozen=True)
class _Table:
    path: Path
    columns: dict[str, int]
    lines: Iterator[tuple[int, str]]
    problems: Problems

    def read(self, others: set[str]) -> Iterator[_Row]:
        """Yield the rows; those with an empty label are skipped and their names added to ``others``.

        Raises:
            UserError: A row is malformed.
        """
        words = re.split(r"[^a-z]+", self.path.stem.lower())
        split = next((SPLIT_OF[word] for word in words if word in SPLIT_OF), None)
        for line, text in self.lines:
            place = f"{self.path}:{line}"
            try:
                fields = [field.strip() for field in next(csv.reader([text]))]
            except csv.Error as error:
                raise UserError(f"{place}: {error}, expected {len(self.columns)} columns as in the header") from None
            if len(fields) != len(self.columns):
                raise UserError(f"{place}: {len(fields)} columns, expected {len(self.columns)} as in the header")
            names = self._names(fields, place)
            part = split if "split" not in self.columns else SPLIT_OF.get(self._field(fields, "split").lower())
            if part is None:
                got = repr(self._field(fields, "split")) if "split" in self.columns else "none in the file's name"
                raise UserError(f"{place}: the split is {got}, expected train, val or test")
            if "label" in self.columns and not self._field(fields, "label"):
                self.problems.add("no_label", place, f"the label of {names[0]} is empty; skipped")
                others.update(names)
                continue
            label = intern(self._field(fields, "label")) if "label" in self.columns else None
            yield _Row(part, names, label, str(self.path), line)

    def _field(self, fields: list[str], name: str) -> str:
        return fields[self.columns[name]]

    def _names(self, fields: list[str], place: str) -> tuple[str, ...]:
        """Return the possible names of the video's file, with and without the time."""
        video = self._field(fields, "youtube_id")
        if not video:
            raise UserError(f"{place}: the youtube_id is empty, expected a video's")
        bare = _one_spelling(video)
        if not {"time_start", "time_end"} <= self.columns.keys():
            return (bare,)
        times = [self._field(fields, name) for name in ("time_start", "time_end")]
        try:
            start, end = (int(float(time)) for time in times)
        except (ValueError, OverflowError):
            raise UserError(
                f"{place}: time_start and time_end are {times[0]!r} and {times[1]!r}, expected seconds"
            ) from None
        return f"{video}_{start:06d}_{end:06d}", bare
