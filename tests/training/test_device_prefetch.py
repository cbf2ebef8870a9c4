"""Batches that travel ahead of the computation arrive whole and in order."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from adamae.data.batch import Batch
from adamae.training.device_prefetch import prefetched

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


def numbered(count: int, pinned: bool = False) -> Iterator[Batch]:
    for number in range(count):
        clip = torch.full((4, 3, 64, 64), number, dtype=torch.uint8)
        yield {"clip": clip.pin_memory() if pinned else clip, "index": torch.tensor([number]), "bad": [number]}


def test_on_the_cpu_nothing_is_taken_ahead() -> None:
    taken = numbered(3)
    batches = prefetched(taken, CPU)
    assert next(batches)["bad"] == [0]
    assert next(taken)["bad"] == [1]
    assert [batch["bad"] for batch in batches] == [[2]]


@pytest.mark.gpu
@pytest.mark.parametrize("pinned", [False, True])
@pytest.mark.parametrize("count", [0, 1, 2, 200])
def test_on_a_gpu_every_batch_arrives_in_order_and_untouched(count: int, pinned: bool) -> None:
    """With work in the queue, and memory that is given back and taken again all the time."""
    weight = torch.rand(2048, 2048, device=CUDA)
    sums, seen = [], []
    for batch in prefetched(numbered(count, pinned), CUDA):
        assert (batch["clip"].device, batch["index"].device) == (CUDA, CPU)
        seen.append(batch["bad"][0])
        weight = weight @ weight / 2048
        sums.append(batch["clip"].float().mean() + 0 * weight[0, 0].nan_to_num())
    assert seen == list(range(count))
    assert [value.item() for value in sums] == [number % 256 for number in range(count)]
