"""Build a run up to its training loop, without training or opening a video."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from adamae.distributed import World


class ReachedLoop(Exception):  # noqa: N818 (no error)
    """Raised in place of the training loop, when all parts are built."""


def write_list(folder: Path, name: str, count: int) -> None:
    """Write ``NAME.csv`` with two alternating classes, and its videos as empty files."""
    (folder / f"{name}.csv").write_text("".join(f"{name}{i}.mp4 {i % 2}\n" for i in range(count)))
    for i in range(count):
        (folder / f"{name}{i}.mp4").touch()


def parts_of(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType, run: Callable[..., Any], options: Any
) -> SimpleNamespace:
    """Return what ``run`` passes to the loop: engine, batches, run, callbacks by name; and the dataset and model."""
    found: dict[str, Any] = {}

    def caught(engine: Any, batches: Any, run: Any, callbacks: Mapping[str, Any], *others: Any) -> None:
        found.update(engine=engine, batches=batches, run=run, **callbacks)
        raise ReachedLoop

    monkeypatch.setattr(module, "train", caught)
    with pytest.raises(ReachedLoop):
        run(options, World(device=torch.device("cpu")))
    return SimpleNamespace(**found, dataset=found["batches"].dataset, model=found["engine"].model)
