"""Accuracy from scores, with the integer counts behind it.

A prediction is correct at rank k if fewer than k classes have a higher score. Among equal scores the class with the
lower number comes first, so ties are resolved in the same way on every machine. A class with the score -inf, such as
one without a vote, is not ranked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adamae.data.list_rows import UNLABELLED
from adamae.evaluation.scoring import Scores

# 95 percent of a normal distribution lie within this many standard deviations.
_Z95 = 1.959964


@dataclass(frozen=True)
class Accuracy:
    """Accuracy on the labelled videos of a list with C classes.

    Percentages are of the videos with a score; ``top1_of_all`` counts videos without a score as wrong.

    Attributes:
        videos: Rows of the list.
        labelled: Videos with a label.
        scored: Labelled videos with a score.
        top1_correct: Scored videos whose true class is first.
        top5_correct: Scored videos whose true class is among the first k.
        k: 5, or C if there are fewer classes.
        confusion: (C, C) int64, scored videos by true class (row) and predicted class (column).
        per_class: (C,) int64, labelled videos of each class, with or without a score.
    """

    videos: int
    labelled: int
    scored: int
    top1_correct: int
    top5_correct: int
    k: int
    confusion: np.ndarray
    per_class: np.ndarray

    @property
    def top1(self) -> float:
        """Percentage of scored videos whose true class is first."""
        return _percent(self.top1_correct, self.scored)

    @property
    def top5(self) -> float:
        """Percentage of scored videos whose true class is among the first k."""
        return _percent(self.top5_correct, self.scored)

    @property
    def top1_interval(self) -> tuple[float, float]:
        """95 % Wilson score interval of ``top1``, in percent."""
        if not self.scored:
            return 0.0, 100.0
        share, spread = self.top1_correct / self.scored, _Z95**2 / self.scored
        centre = share + spread / 2
        reach = (share * (1 - share) * spread + spread**2 / 4) ** 0.5
        low, high = 100 * (centre - reach) / (1 + spread), 100 * (centre + reach) / (1 + spread)
        # Rounding may lead out of [0, 100].
        return max(low, 0.0), min(high, 100.0)

    @property
    def top1_of_all(self) -> float:
        """Percent correct of all labelled videos; videos without a score count as wrong."""
        return _percent(self.top1_correct, self.labelled)

    @property
    def top5_of_all(self) -> float:
        """Percentage of labelled videos correct among the first k classes; videos without a score count as wrong."""
        return _percent(self.top5_correct, self.labelled)

    @property
    def class_scored(self) -> np.ndarray:
        """Scored videos (C,) of each class."""
        return self.confusion.sum(axis=1)

    @property
    def class_correct(self) -> np.ndarray:
        """Correctly classified videos (C,) of each class."""
        return np.diagonal(self.confusion)

    @property
    def mean_class(self) -> float:
        """Mean of the per-class accuracies in percent, over the classes with a scored video."""
        there = self.class_scored > 0
        return float(np.mean(100.0 * self.class_correct[there] / self.class_scored[there])) if there.any() else 0.0

    @property
    def absent(self) -> list[int]:
        """Classes without a scored video, which are excluded from the mean over classes."""
        return np.flatnonzero(self.class_scored == 0).tolist()

    def as_dict(self) -> dict[str, Any]:
        """Return percentages and the counts behind them, for JSON."""
        return {
            "top1": self.top1,
            "top1_interval": list(self.top1_interval),
            "top5": self.top5,
            "k": self.k,
            "mean_class": self.mean_class,
            "top1_correct": self.top1_correct,
            "top5_correct": self.top5_correct,
            "videos": self.videos,
            "labelled": self.labelled,
            "scored": self.scored,
            "unscored": self.labelled - self.scored,
            "top1_unscored_wrong": self.top1_of_all,
            "top5_unscored_wrong": self.top5_of_all,
            "classes": len(self.per_class),
            "classes_scored": len(self.per_class) - len(self.absent),
        }

    def render(self) -> str:
        """Format as one line."""
        low, high = self.top1_interval
        line = (
            f"top-1 {self.top1:.2f} % ({self.top1_correct} of {self.scored}; 95 % interval {low:.1f} to {high:.1f}), "
            f"top-{self.k} {self.top5:.2f} % ({self.top5_correct}), mean over classes {self.mean_class:.2f} %"
        )
        return line + self.render_unscored()

    def render_unscored(self) -> str:
        """Format the accuracies that count videos without a score as wrong; "" if all have one."""
        if self.labelled == self.scored:
            return ""
        return (
            f"; {self.labelled - self.scored} without a score: "
            f"{self.top1_of_all:.2f} % and {self.top5_of_all:.2f} % if counted as wrong"
        )


def measure_accuracy(scores: Scores, labels: np.ndarray) -> Accuracy:
    """Compare scores with labels.

    Args:
        scores: Scores of C classes.
        labels: (rows of the list,) true classes below C; -1 for videos without a label, which are ignored.
    """
    num_classes = scores.logits.shape[1]
    true = labels[scores.rows]
    counted = true != UNLABELLED
    true, logits = true[counted], scores.logits[counted]
    ranks = ranks_of(logits, true)
    confusion = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(confusion, (true, predictions(logits)), 1)
    k = min(5, num_classes)
    return Accuracy(
        videos=len(labels),
        labelled=int((labels != UNLABELLED).sum()),
        scored=len(true),
        top1_correct=int((ranks < 1).sum()),
        top5_correct=int((ranks < k).sum()),
        k=k,
        confusion=confusion,
        per_class=np.bincount(labels[labels != UNLABELLED], minlength=num_classes),
    )


def ranks_of(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return for each row of (n, C) how many classes come before the true one; NaN comes last.

    C if the true class is not ranked.
    """
    unranked = np.isneginf(np.take_along_axis(logits, labels[:, None], axis=1)[:, 0])
    logits = _nan_last(logits)
    true = np.take_along_axis(logits, labels[:, None], axis=1)
    earlier = np.arange(logits.shape[1]) < labels[:, None]
    ranks = ((logits > true) | ((logits == true) & earlier)).sum(axis=1)
    return np.where(unranked, logits.shape[1], ranks)


def predictions(logits: np.ndarray) -> np.ndarray:
    """Return the first class of each row of (n, C); NaN comes last."""
    return _nan_last(logits).argmax(axis=1)


def _nan_last(logits: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(logits), -np.inf, logits)


def class_table(accuracy: Accuracy, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return one row per class: its videos, scored and correct ones, and its most frequent wrong prediction.

    Args:
        accuracy: Accuracy of C classes.
        names: Names of the classes.
    """
    wrong = accuracy.confusion - np.diag(accuracy.class_correct)
    table = []
    for number, name in enumerate(names):
        scored, correct = int(accuracy.class_scored[number]), int(accuracy.class_correct[number])
        rival = int(wrong[number].argmax())
        table.append(
            {
                "class": number,
                "name": name,
                "videos": int(accuracy.per_class[number]),
                "scored": scored,
                "correct": correct,
                "accuracy": _percent(correct, scored) if scored else None,
                "taken_for": names[rival] if wrong[number, rival] else None,
            }
        )
    return table


def _percent(part: int, whole: int) -> float:
    return 100.0 * part / whole if whole else 0.0
