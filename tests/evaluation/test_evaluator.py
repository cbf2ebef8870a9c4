"""What validation logs, against the formulas written out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from adamae.data.annotations import load_annotations
from adamae.distributed import World
from adamae.evaluation.evaluator import Evaluator
from tests.checkpoints.networks import classifier
from tests.evaluation.tiny import BAD, PATHS, views

CLASSES = tuple("abcdefgh")
# Place of the true class among the eight, best first, of each video; that of the damaged one does not matter.
PLACES = (0, 6, 3, 0, 0, 4, 5)


@pytest.mark.parametrize("batch_size", [4, 60])
def test_loss_and_accuracies_are_over_the_videos_that_can_be_read(
    test_list: Path, rng: np.random.Generator, batch_size: int
) -> None:
    model = classifier(int(rng.integers(2**31)), num_classes=8)
    dataset = views(test_list)
    with torch.no_grad():
        scores = {
            row: model(dataset[row]["views"]).double().mean(dim=0).numpy() for row in range(len(PATHS)) if row != BAD
        }
    labels = np.full(len(PATHS), 7)
    for row, score in scores.items():
        labels[row] = np.argsort(-score)[PLACES[row]]
    dataset = views(replace(load_annotations(test_list), labels=labels))

    metrics, accuracy = Evaluator(model, dataset, CLASSES, World(), batch_size=batch_size).metrics()

    losses = [np.log(np.exp(score).sum()) - score[labels[row]] for row, score in scores.items()]
    assert metrics.keys() == {"val_loss", "val_top1", "val_top5"}
    assert metrics["val_loss"] == pytest.approx(np.mean(losses), rel=1e-4)
    # Of six videos two are first, and four among the first five.
    assert metrics["val_top1"] == pytest.approx(100 * 2 / 6)
    assert metrics["val_top5"] == pytest.approx(100 * 4 / 6)
    assert (accuracy.videos, accuracy.scored) == (7, 6)
