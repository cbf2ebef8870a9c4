"""Write the lists of a prepared data set, in the format that ``list_rows`` reads."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adamae.data.class_names import write_class_names
from adamae.data.list_rows import UNLABELLED
from adamae.data.preparation.plan import PreparationPlan
from adamae.data.preparation.problems import Problems
from adamae.data.split_names import SPLITS
from adamae.files import write_whole

UNLABELLED_LIST = "unlabelled"
# Line ends, tabs and quotes split a path even if it is quoted.
_UNWRITABLE = re.compile('[\t\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"]')
_QUOTED = re.compile(r"[\s,]")


@dataclass(frozen=True)
class Lists:
    """Result of :func:`write_lists`.

    Attributes:
        rows: Number of rows of each list.
        counts: (3, C) number of videos of each split and class; None if there are no lists yet.
        notes: Notes for the report, one sentence each.
    """

    rows: dict[str, int]
    counts: np.ndarray | None
    notes: tuple[str, ...]


def write_lists(folder: Path, plan: PreparationPlan, problems: Problems, path_of: Callable[[str], str | None]) -> Lists:
    """Write ``train.csv``, ``val.csv``, ``test.csv`` and ``classes.txt``.

    Without test labels, as in Something-Something, the validation list is also used as the test list, as for published
    results. Without a validation split, as in UCF101 and HMDB51, the test list is also used for validation. Unlabelled
    videos are written to ``unlabelled.csv``, unless no video is labelled. A list without rows is not written.

    Args:
        folder: The output folder.
        plan: The videos.
        problems: Collects paths that a list cannot contain.
        path_of: Function from a source to its path in the list, or None to leave it out.

    Raises:
        OSError: A list cannot be written.
    """
    labelled = any(video.label != UNLABELLED for video in plan.videos)
    lists: dict[str, list[str]] = {name: [] for name in (*SPLITS, UNLABELLED_LIST)}
    largest = max((video.label for video in plan.videos), default=UNLABELLED)
    counts = np.zeros((len(SPLITS), max(len(plan.classes), largest + 1)), np.int64)
    for video in plan.videos:
        path = path_of(video.source)
        if path is None:
            continue
        if _UNWRITABLE.search(path):
            problems.add("unwritable", path, "has a tab, a quote or an end of line in it; rename it")
            continue
        place = f'"{path}"' if _QUOTED.search(path) else path
        if video.label == UNLABELLED:
            lists[UNLABELLED_LIST if labelled else video.split].append(f"{place}\n")
        else:
            lists[video.split].append(f"{place} {video.label}\n")
            counts[SPLITS.index(video.split), video.label] += 1
    notes = _fill(lists)
    for name, rows in lists.items():
        listed = folder / f"{name}.csv"
        if rows:
            write_whole(listed, os.fsencode("".join(rows)))
        else:
            listed.unlink(missing_ok=True)
    if plan.classes:
        write_class_names(folder, plan.classes)
    return Lists({name: len(rows) for name, rows in lists.items() if rows}, counts, notes)


def _fill(lists: dict[str, list[str]]) -> tuple[str, ...]:
    """If one of the validation and test lists is empty, use the other for both; return a note on that."""
    for empty, full in (("test", "val"), ("val", "test")):
        if lists[full] and not lists[empty]:
            lists[empty] = lists[full]
            return (f"nothing is labelled for {empty}: {empty}.csv is the same as {full}.csv",)
    return ()
