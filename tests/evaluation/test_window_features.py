"""Features of windows over complete videos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from adamae.checkpoints.networks import FrozenEncoder
from adamae.data.annotations import load_annotations
from tests.evaluation.tiny import BAD, PATHS, extract


def test_windows_of_a_list(test_list: Path, pretrained: Path) -> None:
    found = extract(test_list, pretrained)
    assert [(bad.row, Path(bad.path).name) for bad in found.unread] == [(BAD, "bad.mp4")]
    # Video k has 6 + 3 k frames, windows of 8 from every fourth one.
    expected = [
        (row, start)
        for row in range(len(PATHS))
        if row != BAD
        for start in sorted({*range(0, max(3 * row - 2, 0) + 1, 4), max(3 * row - 2, 0)})
    ]
    assert list(zip(found.row.tolist(), found.start_frame.tolist(), strict=True)) == expected
    assert found.features.shape == (len(expected), 32)
    assert np.allclose(found.start, found.start_frame / 10)
    assert found.end_frame[0] == 6 and found.end[0] == pytest.approx(0.6)
    assert (found.end_frame - found.start_frame)[1:].tolist() == [8] * (len(expected) - 1)
    assert [path.endswith(PATHS[row]) for path, row in zip(found.path, found.row, strict=True)] == [True] * len(
        expected
    )
    assert found.label.tolist() == load_annotations(test_list).labels[found.row].tolist()


def test_levels_agree(test_list: Path, pretrained: Path) -> None:
    window, time, tubelet = (extract(test_list, pretrained, level).features for level in ("window", "time", "tubelet"))
    assert time.shape[1:] == (2, 32) and tubelet.shape[1:] == (2, 2, 2, 32)
    assert np.allclose(tubelet.mean(axis=(2, 3)), time, atol=1e-5)
    assert np.allclose(time.mean(axis=1), window, atol=1e-5)


def test_windows_that_are_not_finite_are_no_features(
    test_list: Path, pretrained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = extract(test_list, pretrained)
    pool, spoiled = FrozenEncoder.pool, 2

    def spoil(self: FrozenEncoder, encoded: torch.Tensor) -> torch.Tensor:
        nonlocal spoiled
        spoiled -= 1
        return pool(self, encoded) * (torch.inf if spoiled == 0 else 1)

    monkeypatch.setattr(FrozenEncoder, "pool", spoil)
    found = extract(test_list, pretrained)
    assert [(bad.row, bad.reason) for bad in found.unread if bad.row != BAD] == [(1, "the features are not finite")]
    assert np.array_equal(found.features, whole.features[whole.row != 1])
