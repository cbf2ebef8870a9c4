"""Allocations that fail end in one line; other errors are not taken for them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adamae.cli import main as cli
from adamae.memory_errors import out_of_memory

# No machine has as much.
HUGE = 2**60


def allocate_tensor() -> None:
    torch.zeros(HUGE, dtype=torch.uint8)


def allocate_array() -> None:
    np.zeros(HUGE, np.uint8)


def allocate_bytes() -> None:
    bytearray(HUGE)


def on_a_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 4 GiB.")


@pytest.mark.parametrize(
    ("allocate", "size"),
    [
        (allocate_tensor, "1073741824.0 GiB"),
        (allocate_array, "1.00 EiB"),
        (allocate_bytes, "more memory"),
        (on_a_gpu, "2.50 GiB on the GPU"),
    ],
)
def test_a_command_without_memory_ends_with_one_line(
    allocate: object, size: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(name: str, words: object) -> int:
        assert callable(allocate)
        allocate()
        return 0

    monkeypatch.setattr(cli, "run_command", run)
    assert cli.main(["pretrain"]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"adamae: error: out of memory: could not allocate {size}; ")
    assert told.count("\n") == 1


@pytest.mark.parametrize("error", [RuntimeError("out of memory of whatever kind"), ValueError("bytes"), OSError(12)])
def test_other_errors_are_none(error: Exception) -> None:
    assert out_of_memory(error) is None
