"""Accuracy against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest

from adamae.evaluation.metrics import Accuracy, class_table, measure_accuracy, predictions, ranks_of
from adamae.evaluation.scoring import Scores, Unscored


def scores(logits: np.ndarray, rows: list[int] | None = None) -> Scores:
    places = np.arange(len(logits)) if rows is None else np.array(rows)
    return Scores(places, logits.astype(np.float32), (), 1)


def by_counting(logits: np.ndarray, labels: np.ndarray, k: int) -> int:
    """How many labels are among the first k of a stable sort from high to low."""
    right = 0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        order = sorted(range(len(row)), key=lambda number: (-row[number], number))
        right += label in order[:k]
    return right


@pytest.mark.parametrize("classes", [2, 3, 5, 12])
def test_top_k_is_what_sorting_gives_ties_included(classes: int) -> None:
    rng = np.random.default_rng(classes)
    # Few distinct values, so that ties are everywhere.
    logits, labels = rng.integers(0, 4, (300, classes)).astype(np.float32), rng.integers(0, classes, 300)
    accuracy = measure_accuracy(scores(logits), labels)
    assert accuracy.k == min(5, classes)
    assert accuracy.top1_correct == by_counting(logits, labels, 1)
    assert accuracy.top5_correct == by_counting(logits, labels, accuracy.k)
    assert accuracy.top1_correct == (predictions(logits) == labels).sum() == np.trace(accuracy.confusion)
    if classes <= 5:
        assert accuracy.top5 == 100


def test_all_equal_scores_give_class_zero() -> None:
    logits = np.zeros((4, 3), np.float32)
    assert predictions(logits).tolist() == [0, 0, 0, 0]
    assert ranks_of(logits, np.array([0, 1, 2, 0])).tolist() == [0, 1, 2, 0]


def test_nan_comes_last() -> None:
    logits = np.array([[np.nan, 1, 2], [0, np.nan, -5], [np.nan] * 3], np.float32)
    assert predictions(logits).tolist() == [2, 0, 0]
    for label, ranks in enumerate(([2, 0, 0], [1, 2, 1], [0, 1, 2])):
        assert ranks_of(logits, np.full(3, label)).tolist() == ranks


def test_a_class_at_minus_infinity_is_not_ranked() -> None:
    logits = np.array([[0.6, -np.inf, 0.4, -np.inf]] * 4, np.float32)
    assert ranks_of(logits, np.arange(4)).tolist() == [0, 4, 1, 4]
    assert measure_accuracy(scores(logits), np.arange(4)).top5_correct == 2


def test_an_interval_ends_at_100_percent() -> None:
    for videos in range(1, 200):
        logits = np.tile(np.float32([1, 0]), (videos, 1))
        assert measure_accuracy(scores(logits), np.zeros(videos, np.int64)).top1_interval[1] == pytest.approx(100)
        assert measure_accuracy(scores(logits), np.zeros(videos, np.int64)).top1_interval[1] <= 100
        assert measure_accuracy(scores(logits), np.ones(videos, np.int64)).top1_interval[0] >= 0


def small() -> Accuracy:
    """Six videos of four classes: the third has no score, the fifth no label, class 3 no video."""
    logits = np.array([[9, 1, 0, 0], [9, 1, 0, 0], [0, 9, 1, 0], [5, 5, 5, 5], [0, 0, 9, 1]])
    found = Scores(np.array([0, 1, 3, 4, 5]), logits.astype(np.float32), (Unscored(2, "c", "why"),), 15)
    return measure_accuracy(found, np.array([0, 0, 1, 1, -1, 1]))


def test_videos_without_a_score_or_a_label_by_hand() -> None:
    accuracy = small()
    assert (accuracy.videos, accuracy.labelled, accuracy.scored) == (6, 5, 4)
    assert accuracy.confusion.tolist() == [[2, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert accuracy.top1_correct == 3
    assert accuracy.top1 == 75
    assert accuracy.top1_of_all == 60
    assert accuracy.mean_class == 75
    assert accuracy.absent == [2, 3]
    assert accuracy.per_class.tolist() == [2, 3, 0, 0]
    result = accuracy.as_dict()
    assert result["unscored"] == 1
    assert result["top1_unscored_wrong"] == 60
    assert result["classes_scored"] == 2
    assert accuracy.render() == (
        "top-1 75.00 % (3 of 4; 95 % interval 30.1 to 95.4), top-4 100.00 % (4), mean over classes 75.00 %; "
        "1 without a score: 60.00 % and 80.00 % if counted as wrong"
    )


def test_the_interval_around_top1_by_solving_for_it() -> None:
    """Its ends are the shares that lie 1.96 of their own deviations away from what was seen."""
    for right, videos in ((3, 4), (0, 7), (70, 100), (5, 5)):
        logits = np.eye(2)[[0] * right + [1] * (videos - right)]
        ends = measure_accuracy(scores(logits), np.zeros(videos, np.int64)).top1_interval
        for share in (end / 100 for end in ends):
            deviation = (share * (1 - share) / videos) ** 0.5
            assert abs(right / videos - share) == pytest.approx(1.959964 * deviation, abs=1e-9)
    assert ends[0] < 100 == pytest.approx(ends[1])


def test_mean_over_classes_is_not_the_mean_over_videos() -> None:
    logits = np.eye(2)[[0] * 10 + [0]]
    accuracy = measure_accuracy(scores(logits), np.array([0] * 10 + [1]))
    assert accuracy.top1 == pytest.approx(100 * 10 / 11)
    assert accuracy.mean_class == 50


def test_the_table_of_classes() -> None:
    table = class_table(small(), ["a", "b", "c", "d"])
    assert [tuple(row.values()) for row in table] == [
        (0, "a", 2, 2, 2, 100.0, None),
        (1, "b", 3, 2, 1, 50.0, "c"),
        (2, "c", 0, 0, 0, None, None),
        (3, "d", 0, 0, 0, None, None),
    ]
