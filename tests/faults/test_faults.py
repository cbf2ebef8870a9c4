"""A few trials of each promise; ``make faults`` runs them all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.launching import ROOT

# What is tried here of a promise, as a fraction of the whole run. The disk's trials begin with four whole runs, which
# take too long here, and so do strangers' lists, videos and names.
SCALES = {"data": 0.01, "strangers": 0.01}
ONLY = {"strangers": "pickle|header|zip|YAML|shard|mutated"}


@pytest.mark.slow
@pytest.mark.parametrize("promise", SCALES)
def test_nothing_is_lost(promise: str, tmp_path: Path) -> None:
    """In an interpreter of its own: trials are forks, which must not inherit what a test process has done."""
    path, seed = tmp_path / "results", os.environ.get("ADAMAE_TEST_SEED", "0")
    words = [
        "--promises",
        promise,
        "--scale",
        str(SCALES[promise]),
        "--only",
        ONLY.get(promise, ""),
        "--jobs",
        "1",
        "--seed",
        seed,
        "--results",
        str(path),
    ]
    ended = subprocess.run([sys.executable, "-m", "tests.faults", *words], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode in (0, 1), ended.stderr[-4000:]
    results = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(results) > 8
    assert [result for result in results if result["reason"] is not None] == []
