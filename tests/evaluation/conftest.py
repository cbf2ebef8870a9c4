"""Videos and checkpoints for evaluation, made once per session."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.evaluation.tiny import write_classifier, write_pretrainer, write_videos


@pytest.fixture(scope="session")
def test_list(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``test.csv`` of seven videos, the fifth damaged, with ``classes.txt`` beside it."""
    return write_videos(tmp_path_factory.mktemp("scored"))


@pytest.fixture(scope="session")
def finetuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoint of a classifier with five named classes."""
    return write_classifier(tmp_path_factory.mktemp("networks") / "finetuned.safetensors")


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoint of a pre-trained network."""
    return write_pretrainer(tmp_path_factory.mktemp("networks") / "pretrained.safetensors")
