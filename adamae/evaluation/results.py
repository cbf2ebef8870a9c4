"""What a scoring leaves behind: a summary, one row for each video, and the tables of classes.

OUT/scores.json      accuracy with the whole numbers behind it, how it was measured, and which videos have no score
    scores.csv       one row for each video of the list: path, label, prediction, rank of the true class, scores
    per_class.csv    one row for each class
    confusion.csv    rows are true classes, columns what they were taken for
    confusion.png    the same as a picture, where matplotlib is installed
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adamae.data.annotations import UNLABELLED, Annotations
from adamae.errors import UserError
from adamae.evaluation.confusion_picture import draw_confusion
from adamae.evaluation.metrics import Accuracy, class_table, predictions, ranks_of
from adamae.evaluation.scoring import Scores
from adamae.files import publish
from adamae.plain_text import as_json, write_csv_rows


def summarise(
    scores: Scores, accuracy: Accuracy, names: Sequence[str], measured: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The summary, as JSON can hold it.

    Args:
        scores: What the network said.
        accuracy: How that compares with the labels.
        names: Of the classes.
        measured: What else belongs to the number: checkpoint, list, clips.

    Returns:
        What :meth:`Accuracy.as_dict` gives, "views" of each video, "unscored_videos" with the reason for each,
        "damaged_videos" that were read past damage, "absent_classes", and ``measured``.
    """
    return {
        **accuracy.as_dict(),
        "views": scores.num_views,
        "unscored_videos": [vars(video) for video in scores.unscored],
        "damaged_videos": [vars(video) for video in scores.damaged],
        "absent_classes": [names[number] for number in accuracy.absent],
        **(measured or {}),
    }


def write_results(
    folder: str | Path,
    scores: Scores,
    annotations: Annotations,
    accuracy: Accuracy,
    names: Sequence[str],
    summary: Mapping[str, Any],
) -> list[str]:
    """Write all files.

    Args:
        folder: Made where it is missing; files of the same names are replaced.
        scores: What the network said to the videos of ``annotations``.
        annotations: The list.
        accuracy: How scores and labels compare.
        names: Of the classes.
        summary: What :func:`summarise` gave.

    Returns:
        What a person should know about them, one line each.

    Raises:
        UserError: If they cannot be written.
    """
    place = Path(folder)
    text = as_json(dict(summary)) + "\n"
    publish(place / "scores.json", lambda path: path.write_text(text, encoding="utf-8"))
    write_csv(place / "scores.csv", _video_rows(scores, annotations, names))
    table = class_table(accuracy, names)
    write_csv(place / "per_class.csv", [list(table[0]), *(list(row.values()) for row in table)])
    confusion = ([name, *row] for name, row in zip(names, accuracy.confusion.tolist(), strict=True))
    write_csv(place / "confusion.csv", [["true \\ predicted", *names], *confusion])
    try:
        publish(place / "confusion.png", lambda path: draw_confusion(path, accuracy.confusion, names))
    except UserError as error:
        if isinstance(error.__cause__, ImportError):
            return ["confusion.png was not written: it needs the package matplotlib"]
        raise
    return []


def write_csv(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    """Write rows of numbers and texts; None is an empty field.

    Raises:
        UserError: If it cannot be written.
    """

    def write(temporary: Path) -> None:
        # Paths need not be UTF-8; such bytes come out as they came in.
        with temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            write_csv_rows(file, rows)

    publish(path, write)


def _video_rows(scores: Scores, annotations: Annotations, names: Sequence[str]) -> Iterable[list[Any]]:
    yield ["row", "path", "label", "prediction", "rank", "problem", *names]
    problems = {video.row: video.reason for video in scores.unscored}
    labels = annotations.labels
    true = labels[scores.rows]
    ranks = ranks_of(scores.logits, np.maximum(true, 0))
    places = {row: place for place, row in enumerate(scores.rows.tolist())}
    predicted = predictions(scores.logits)
    for row in range(len(annotations)):
        label = int(labels[row])
        known = None if label == UNLABELLED else label
        if row in problems:
            yield [row, annotations.path(row), known, None, None, problems[row], *[None] * len(names)]
            continue
        place = places[row]
        rank = None if known is None else int(ranks[place])
        # Nine digits tell any two float32 apart.
        values = [f"{value:.9g}" for value in scores.logits[place]]
        yield [row, annotations.path(row), known, int(predicted[place]), rank, None, *values]
