"""What every test may rely on: threads that do not fight, real clips where there are any, GPUs only if present."""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

# Two workers of pytest share two cores; set before torch is imported anywhere.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A shell that puts a job in the background lets it, and all that it starts, ignore what some tests send.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parents[1]
CLIPS = Path(os.environ.get("ADAMAE_CLIPS", ROOT.parent / "shared" / "clips"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked ``gpu`` where there is none; begin with the files that have slow tests."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        # A slow test that begins last would leave the other workers without work. Files stay whole for their fixtures.
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in slow)
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def clips() -> Path:
    """The folder of real clips; the test is skipped without it."""
    if not CLIPS.is_dir():
        pytest.skip(f"no real clips at {CLIPS}: set ADAMAE_CLIPS to their folder")
    return CLIPS


@pytest.fixture
def rng() -> np.random.Generator:
    """Fresh numbers on every run; a failure prints the seed, and ADAMAE_TEST_SEED repeats it."""
    seed = int(os.environ.get("ADAMAE_TEST_SEED", time.time_ns() % 2**32))
    print(f"ADAMAE_TEST_SEED={seed}")
    return np.random.default_rng(seed)


@pytest.fixture
def closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that may not be entered, for an administrator neither: whatever is looked up in it."""
    folder = tmp_path / "closed"
    folder.mkdir()
    look_up = os.stat

    def refuse(path: str | bytes | int | os.PathLike[str], *arguments: object, **named: object) -> os.stat_result:
        if not isinstance(path, int) and os.fsdecode(path).startswith(f"{folder}/"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return look_up(path, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", refuse)
    return folder
