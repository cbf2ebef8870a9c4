"""A few videos for tests of the commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from adamae.cli.main import main


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic data set of twelve training videos of 32 x 32 pixels."""
    out = tmp_path_factory.mktemp("videos") / "set"
    options = "--videos_per_class 6 --val_per_class 1 --test_per_class 0 --classes left,right --size 32 --frames 8"
    assert main(["synthesize", str(out), *options.split(), "--workers", "0"]) == 0
    return out
