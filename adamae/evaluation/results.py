"""Files of an evaluation: a summary, one row per video, and the tables of classes.

OUT/scores.json      accuracy with the counts behind it, how it was measured, and which videos have no score
    scores.csv       one row per video of the list: path, label, prediction, rank of the true class, scores
    per_class.csv    one row per class
    confusion.csv    rows are true classes, columns are predicted classes
    confusion.png    the same as a figure, if matplotlib is installed
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adamae.data.annotations import Annotations
from adamae.data.list_rows import UNLABELLED
from adamae.errors import UserError
from adamae.evaluation.confusion_picture import draw_confusion
from adamae.evaluation.metrics import Accuracy, class_table, predictions, ranks_of
from adamae.evaluation.scoring import Scores
from adamae.files import publish
from adamae.plain_text import as_json, write_csv_rows


def summarise(
    scores: Scores, accuracy: Accuracy, names: Sequence[str], measured: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the summary as JSON values.

    Args:
        scores: Scores of the videos.
        accuracy: Accuracy of the scores.
        names: Names of the classes.
        measured: Other entries: checkpoint, list, clips.

    Returns:
        The entries of :meth:`Accuracy.as_dict`, "views" of each video, "unscored_videos" with the reason for each,
        "damaged_videos" that were read despite damage, "absent_classes", and ``measured``.
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
        folder: Created if missing; files of the same names are replaced.
        scores: Scores of the videos of ``annotations``.
        annotations: The list.
        accuracy: Accuracy of the scores.
        names: Names of the classes.
        summary: Result of :func:`summarise`.

    Returns:
        Notes for the user, one line each.

    Raises:
        UserError: If the files cannot be written.
    """
    directory = Path(folder)
    text = as_json(dict(summary)) + "\n"
    publish(directory / "scores.json", lambda path: path.write_text(text, encoding="utf-8"))
    write_csv(directory / "scores.csv", _video_rows(scores, annotations, names))
    table = class_table(accuracy, names)
    write_csv(directory / "per_class.csv", [list(table[0]), *(list(row.values()) for row in table)])
    confusion = ([name, *row] for name, row in zip(names, accuracy.confusion.tolist(), strict=True))
    write_csv(directory / "confusion.csv", [["true \\ predicted", *names], *confusion])
    try:
        publish(directory / "confusion.png", lambda path: draw_confusion(path, accuracy.confusion, names))
    except UserError as error:
        if isinstance(error.__cause__, ImportError):
            return ["confusion.png was not written: it needs the package matplotlib"]
        raise
    return []


def write_csv(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    """Write rows of numbers and strings; None is an empty field.

    Raises:
        UserError: If the file cannot be written.
    """

    def write(temporary: Path) -> None:
        # Paths may not be valid UTF-8; such bytes are written unchanged.
        with temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            write_csv_rows(file, rows)

    publish(path, write)


def _video_rows(scores: Scores, annotations: Annotations, names: Sequence[str]) -> Iterable[list[Any]]:
    yield ["row", "path", "label", "prediction", "rank", "problem", *names]
    problems = {video.row: video.reason for video in scores.unscored}
    labels = annotations.labels
    true = labels[scores.rows]
    ranks = ranks_of(scores.logits, np.maximum(true, 0))
    index_of_row = {row: index for index, row in enumerate(scores.rows.tolist())}
    predicted = predictions(scores.logits)
    for row in range(len(annotations)):
        label = int(labels[row])
        known = None if label == UNLABELLED else label
        if row in problems:
            yield [row, annotations.path(row), known, None, None, problems[row], *[None] * len(names)]
            continue
        index = index_of_row[row]
        rank = None if known is None else int(ranks[index])
        # Nine significant digits identify every float32.
        values = [f"{value:.9g}" for value in scores.logits[index]]
        yield [row, annotations.path(row), known, int(predicted[index]), rank, None, *values]
