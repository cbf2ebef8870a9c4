"""Settings and fixtures of all tests: number of threads, real clips if there are any, GPU tests only with a GPU."""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

# Workers of pytest share the cores; this must be set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A background job of a shell ignores SIGINT, and so do its child processes, but some tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parents[1]
CLIPS = Path(os.environ.get("ADAMAE_CLIPS", ROOT.parent / "shared" / "clips"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked ``gpu`` without a GPU; run the files with slow tests first."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        # If a slow test started last, the other workers would be idle. Files are not split because of their fixtures.
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
    """Folder of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def clips() -> Path:
    """Folder of real clips; the test is skipped without it."""
    if not CLIPS.is_dir():
        pytest.skip(f"no real clips at {CLIPS}: set ADAMAE_CLIPS to their folder")
    return CLIPS


@pytest.fixture
def rng() -> np.random.Generator:
    """Generator with a new seed on every run; a failure prints the seed, and ADAMAE_TEST_SEED repeats it."""
    seed = int(os.environ.get("ADAMAE_TEST_SEED", time.time_ns() % 2**32))
    print(f"ADAMAE_TEST_SEED={seed}")
    return np.random.default_rng(seed)


@pytest.fixture
def closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder without permission to enter: ``os.stat`` of anything in it fails, also for root."""
    folder = tmp_path / "closed"
    folder.mkdir()
    look_up = os.stat

    def refuse(path: str | bytes | int | os.PathLike[str], *arguments: object, **named: object) -> os.stat_result:
        if not isinstance(path, int) and os.fsdecode(path).startswith(f"{folder}/"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return look_up(path, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", refuse)
    return folder
