"""Predicted beside measured steps: what counts as near. The measurement itself is `make roofline`."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest


@pytest.fixture
def script() -> ModuleType:
    return importlib.import_module("roofline")


def test_the_best_of_some_measurements_counts(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    predictions = iter([0.5, 0.9, 0.1, 0.5, 0.6, 0.1])
    monkeypatch.setattr(script, "measured_steps", lambda options: [script.Checked("ours", 1.0, next(predictions))])
    # The second is near enough, and no third is made.
    assert script.main(["--attempts", "3"]) == 0
    assert "| ours | 1.00 | 0.90 | 0.90 |" in capsys.readouterr().out
    assert next(predictions) == 0.1
    assert script.main(["--attempts", "3"]) == 1
    told = capsys.readouterr()
    assert "| ours | 1.00 | 0.60 | 0.60 |" in told.out
    assert "a prediction is off by 40%, expected 25% at most" in told.err
