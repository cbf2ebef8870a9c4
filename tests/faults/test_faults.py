"""A few trials of each promise; ``make faults`` runs them all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.launching import ROOT

# What is tried here together: promises, the fraction of the whole run, names of trials, and how many that makes at
# least. The disk's trials begin with four whole runs, which take too long here, and so do strangers' lists, videos and
# names.
PARTS = [
    (("data",), 0.01, "", 10),
    (("strangers",), 0.01, "pickle|header|zip|YAML|shard|mutated", 9),
    (("kill", "preemption"), 0.02, "", 2),
]


@pytest.mark.slow
@pytest.mark.parametrize(("promises", "scale", "only", "least"), PARTS)
def test_nothing_is_lost(promises: tuple[str, ...], scale: float, only: str, least: int, tmp_path: Path) -> None:
    """In an interpreter of its own: trials are forks, which must not inherit what a test process has done."""
    path, seed = tmp_path / "results", os.environ.get("ADAMAE_TEST_SEED", "0")
    words = [
        "--promises",
        *promises,
        "--scale",
        str(scale),
        "--only",
        only,
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
    assert len(results) >= least
    assert [result for result in results if result["reason"] is not None] == []
