"""Problems of a data set, collected while the rest of it is prepared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

# Kind -> description, in the order of the report.
KINDS = {
    "class_gap": "a number that no class has, below those of others",
    "no_label": "a listed file without a label",
    "unknown_class": "a listed file of a class that is not among the known ones",
    "duplicate": "a file listed twice, or present twice",
    "missing": "a listed file that is not there",
    "empty_class": "a folder for a class that is empty",
    "unlisted": "a file that no label file lists",
    "other_folder": "a file in the folder of another class than its label; the label is taken",
    "unwritable": "a path that cannot stand in a list",
    "broken": "a file that cannot be read",
    "damaged": "a video with damaged parts that were skipped; it is kept",
}


class Problem(NamedTuple):
    """One problem.

    Attributes:
        kind: A key of :data:`KINDS`.
        place: File and line, or the video.
        reason: What was found and what was expected.
    """

    kind: str
    place: str
    reason: str


class Problems:
    """A collection of problems."""

    def __init__(self) -> None:
        self._found: list[Problem] = []

    def add(self, kind: str, place: str, reason: str) -> None:
        """Add a problem; ``kind`` is a key of :data:`KINDS`."""
        assert kind in KINDS, kind
        self._found.append(Problem(kind, place, reason))

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def counts(self) -> dict[str, int]:
        """Return the number of problems of every kind, including kinds without problems."""
        counted = Counter(problem.kind for problem in self._found)
        return {kind: counted[kind] for kind in KINDS}

    def of_kind(self, kind: str) -> list[Problem]:
        """Return all problems of one kind."""
        return [problem for problem in self._found if problem.kind == kind]
