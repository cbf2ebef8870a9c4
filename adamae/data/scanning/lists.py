"""Lists of the good and of the bad videos, made from the scanned list."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from adamae.data.annotations import Annotations
from adamae.data.list_rows import UNLABELLED, read_lines, read_rows
from adamae.data.scanning.report import BadVideo
from adamae.lookup import is_folder
from adamae.plain_text import write_csv_rows


def good_list(annotations: Annotations, bad: Collection[int], folder: Path, root_given: bool) -> bytes | None:
    """Return the list of the good rows; None for shards, whose videos a list cannot name.

    If paths lead to the same files from the new folder, header and lines are copied unchanged. Otherwise, and for
    folders, the list is CSV with a header, quotes, and the available ones of path, number of frames and label.

    Args:
        annotations: The scanned list.
        bad: Rows to leave out.
        folder: Folder of the new list.
        root_given: Whether relative paths start from a folder that is named with every use of the list.
    """
    if annotations.members is not None:
        return None
    place = Path(annotations.source)
    good = [row for row in range(len(annotations)) if row not in bad]
    if is_folder(place):
        moved = not folder.samefile(place)
        return _under_header(annotations, good, [_class_name(annotations, row) for row in good], absolute=moved)
    rows = list(read_rows(place))
    if root_given or folder.resolve() == place.parent.resolve():
        lines = read_lines(place)
        header = [line for line in lines[: rows[0].line - 1] if line.strip()]
        kept = ["".join(lines[rows[row].line - 1 : rows[row].last]) for row in good]
        return "".join(f"{_without_end(text)}\n" for text in [*header, *kept]).encode(errors="surrogateescape")
    return _under_header(annotations, good, [rows[row].label for row in good], absolute=True)


def bad_list(annotations: Annotations, bad: Sequence[BadVideo]) -> bytes:
    """Return the list of the bad videos, readable as any list: CSV with a header, path, label if any, and reason."""
    labelled = bool((annotations.labels != UNLABELLED).any())
    rows: list[list[str | None]] = [["path", *(["label"] if labelled else []), "reason"]]
    for video in bad:
        label = [_class_name(annotations, video.row)] if labelled else []
        rows.append([_absolute(annotations.path(video.row)), *label, video.reason])
    out = io.StringIO()
    write_csv_rows(out, rows)
    return out.getvalue().encode(errors="surrogateescape")


def _under_header(
    annotations: Annotations, rows: Sequence[int], labels: Sequence[str | None], *, absolute: bool
) -> bytes:
    columns: dict[str, list[str]] = {
        "path": [_absolute(annotations.path(row)) if absolute else _beside(annotations.names[row]) for row in rows]
    }
    if annotations.frames is not None:
        columns["num_frames"] = [str(annotations.frames[row]) for row in rows]
    if any(label is not None for label in labels):
        columns["label"] = [str(UNLABELLED) if label is None else label for label in labels]
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return out.getvalue().encode(errors="surrogateescape")


def _without_end(line: str) -> str:
    return line.rstrip("\r\n")


def _beside(name: str) -> str:
    """Return a relative path for a list; readers of lists strip whitespace around paths."""
    return name if name == name.lstrip() else f"./{name}"


def _absolute(path: str) -> str:
    return os.path.abspath(path)  # noqa: PTH100 (speed)


def _class_name(annotations: Annotations, row: int) -> str | None:
    label = int(annotations.labels[row])
    if annotations.classes is not None and label != UNLABELLED:
        return annotations.classes[label]
    return None if label == UNLABELLED else str(label)
