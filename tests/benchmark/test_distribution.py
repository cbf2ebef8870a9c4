"""What processes hold and exchange, against DDP's own buckets (tests/training/test_deepspeed.py: two processes)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from adamae.benchmark.distribution import Distribution, ddp_buckets, deepspeed_buckets
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


def test_buckets() -> None:
    mebi = 2**20 // 4
    assert [ddp_buckets([mebi] * count) for count in (1, 2, 26, 27, 51, 52)] == [1, 2, 2, 3, 3, 4]
    assert [deepspeed_buckets([3] * count, 10) for count in (1, 3, 4, 6, 7)] == [1, 1, 2, 2, 3]
    assert deepspeed_buckets([3, 12, 3], 10) == 3


def test_stage_2_reduces_each_micro_batch() -> None:
    stages = [Distribution(100, 0, 8, 2, zero_stage=stage, buckets=3, passes=4) for stage in (0, 1, 2)]
    assert [spread.exchanged for spread in stages] == [400, 400, 1600]
    assert [spread.all_reduces for spread in stages] == [3, 4, 13]
    assert Distribution(100, 0, 1, 1, zero_stage=2, buckets=3, passes=4).all_reduces == 0


def exchanged_by_ddp(model: nn.Module, loss: Callable[[nn.Module], Tensor], store: Path) -> list[list[int]]:
    """Bytes of the buckets of two backward passes; DDP puts them together anew after the first."""
    given: list[list[int]] = []

    def exchange(bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
        given[-1].append(bucket.buffer().nbytes)
        done: torch.futures.Future[Tensor] = torch.futures.Future()
        done.set_result(bucket.buffer())
        return done

    dist.init_process_group("gloo", store=dist.FileStore(str(store), 1), rank=0, world_size=1)
    try:
        replicated = _replicate(model)
        # DDP looks at annotations, which are strings in this file.
        replicated.register_comm_hook(None, lambda state, bucket: exchange(bucket))
        for _ in range(2):
            given.append([])
            loss(replicated).backward()
        del replicated
    finally:
        dist.destroy_process_group()
    return given


def test_the_torch_engine_exchanges_so_many_bytes(tmp_path: Path) -> None:
    model = create_model("adamae_tiny", **MODEL)
    clips = torch.zeros(1, 4, 32, 32, 3, dtype=torch.uint8)
    first, second = exchanged_by_ddp(model, lambda ddp: ddp(clips).losses["loss"], tmp_path / "store")
    parameters = [one.numel() for one in model.parameters()]
    expected = Distribution(sum(parameters), 0, 2, 1).exchanged
    assert sum(first) == pytest.approx(expected, rel=0.05)
    assert sum(second) == pytest.approx(expected, rel=0.05)
    assert len(second) == ddp_buckets(parameters) == 2


@pytest.mark.parametrize("count", [26, 27, 60])
def test_the_torch_engine_has_so_many_buckets(tmp_path: Path, count: int) -> None:
    model = nn.Sequential(*(nn.Linear(512, 512, bias=False) for _ in range(count)))
    _, second = exchanged_by_ddp(model, lambda ddp: ddp(torch.ones(1, 512)).sum(), tmp_path / "store")
    assert len(second) == ddp_buckets([one.numel() for one in model.parameters()])
