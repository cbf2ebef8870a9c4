"""What processes hold and exchange, against DDP's own buckets (tests/training/test_deepspeed.py: two processes)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from adamae.benchmark.distribution import Distribution
from adamae.models import create_model
from adamae.training.torch_engine import _replicate
from tests.training.collectives import MODEL


@pytest.mark.parametrize(
    ("stage", "gradients", "optimizer"), [(0, 400, 800), (1, 400, 3 * 4 * 13), (2, 4 * 13, 3 * 4 * 13)]
)
def test_what_zero_shards(stage: int, gradients: int, optimizer: int) -> None:
    spread = Distribution(parameters=100, buffers=7, processes=8, nodes=1, zero_stage=stage)
    assert (spread.weights, spread.gradients, spread.optimizer) == (400, gradients, optimizer)
    assert spread.held == 400 + gradients + optimizer + 7


def test_one_process_exchanges_nothing_and_one_machine_nothing_over_the_network() -> None:
    assert Distribution(100, 0, 1, 1).sent == 0
    assert Distribution(100, 0, 8, 1).sent == 700
    assert Distribution(100, 0, 8, 1, zero_stage=1).sent == 1050
    assert Distribution(100, 0, 8, 1).network_seconds(100) == 0
    assert Distribution(100, 0, 8, 2).network_seconds(100) == pytest.approx(5600 / 1e11)


def test_the_torch_engine_exchanges_so_many_bytes(tmp_path: Path) -> None:
    model = create_model("adamae_tiny", **MODEL)
    given: list[int] = []

    def exchange(bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
        given.append(bucket.buffer().nbytes)
        done: torch.futures.Future[torch.Tensor] = torch.futures.Future()
        done.set_result(bucket.buffer())
        return done

    dist.init_process_group("gloo", store=dist.FileStore(str(tmp_path / "store"), 1), rank=0, world_size=1)
    try:
        replicated = _replicate(model)
        # DDP looks at annotations, which are strings in this file.
        replicated.register_comm_hook(None, lambda state, bucket: exchange(bucket))
        replicated(torch.zeros(1, 4, 32, 32, 3, dtype=torch.uint8)).losses["loss"].backward()
        del replicated
    finally:
        dist.destroy_process_group()
    parameters = sum(one.numel() for one in model.parameters())
    assert sum(given) == pytest.approx(Distribution(parameters, 0, 2, 1).exchanged, rel=0.05)
