"""An epoch over shards: every sample once, in the same order, whatever ranks and workers share the work."""

import multiprocessing
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from adamae.data.annotations import load_annotations
from adamae.data.dataset import PretrainDataset, pretrain_dataset
from adamae.data.loader import build_loader
from adamae.randomness import windowed_permutation

# Twelve videos in steps of six: two steps to an epoch, however a step is divided.
_STEP, _STEPS = 6, 2


def dataset(packed: Path, window: int = 2) -> PretrainDataset:
    videos = load_annotations(packed, shard_window=window)
    return pretrain_dataset(videos, num_frames=2, sampling_rate=1, size=32, seed=5)


def rank_of(packed: Path, rank: int, world: int, workers: int, epoch: int = 0, batch: int = 0) -> list[torch.Tensor]:
    """The rows of one rank in each of two epochs' batches, and the sums of their pixels."""
    loader = build_loader(
        dataset(packed),
        batch_size=_STEP // world,
        world_size=world,
        rank=rank,
        num_workers=workers,
        epoch=epoch,
        batch=batch,
    )
    batches = islice(loader, 2 * _STEPS - batch)
    return [torch.stack([each["index"], each["clip"].flatten(1).sum(1)], dim=1) for each in batches]


def in_process(packed: Path, rank: int, world: int, workers: int, results: "multiprocessing.Queue[object]") -> None:
    torch.set_num_threads(1)
    results.put((rank, [batch.tolist() for batch in rank_of(packed, rank, world, workers)]))


@pytest.fixture(scope="module")
def alone(packed: Path) -> torch.Tensor:
    """(24, 2): two epochs by one process without workers."""
    return torch.cat(rank_of(packed, 0, 1, 0))


@pytest.mark.slow
@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("workers", [0, 1, 4])
def test_each_sample_once_in_the_same_order(packed: Path, alone: torch.Tensor, world: int, workers: int) -> None:
    """In as many processes, each with its own loader and workers."""
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [
        context.Process(target=in_process, args=(packed, rank, world, workers, results)) for rank in range(world)
    ]
    for process in processes:
        process.start()
    ranks = dict(results.get(timeout=120) for _ in processes)
    for process in processes:
        process.join()
    # A step is the ranks' batches one after the other.
    steps = [[sample for rank in range(world) for sample in ranks[rank][step]] for step in range(2 * _STEPS)]
    seen = torch.tensor([sample for step in steps for sample in step])
    for epoch in range(2):
        rows = seen[12 * epoch : 12 * epoch + 12, 0]
        assert sorted(rows.tolist()) == list(range(12))
    assert torch.equal(seen, alone)
    assert not torch.equal(seen[:12, 0], seen[12:, 0])


def test_resumed_anywhere_it_goes_on(packed: Path, alone: torch.Tensor) -> None:
    for batch in range(2 * _STEPS):
        rest = torch.cat(rank_of(packed, 0, 1, 0, batch=batch))
        assert torch.equal(rest, alone[_STEP * batch :])


def test_a_remainder_is_left_out_of_one_epoch_and_not_always_the_same(packed: Path) -> None:
    """Twelve videos in steps of five: two are left out of each epoch, and none of them comes twice in it."""
    batches: Iterator[dict[str, torch.Tensor]] = islice(iter(build_loader(dataset(packed), batch_size=5)), 12)
    rows = np.array([batch["index"].tolist() for batch in batches]).reshape(6, 10)
    assert all(len(set(epoch)) == 10 for epoch in rows.tolist())
    left_out = [frozenset(range(12)) - set(epoch) for epoch in rows.tolist()]
    assert len(set(left_out)) > 1


def test_few_shards_at_a_time(rng: np.random.Generator) -> None:
    for _ in range(50):
        shards, window = int(rng.integers(1, 12)), int(rng.integers(1, 14))
        shard = np.repeat(np.arange(shards), rng.integers(1, 9, shards))
        seed, epoch = int(rng.integers(1000)), int(rng.integers(1000))
        order = windowed_permutation(seed, epoch, shard, window)
        assert sorted(order.tolist()) == list(range(len(shard)))
        assert np.array_equal(order, windowed_permutation(seed, epoch, shard, window))
        # The shards of each window are done with before those of the next begin.
        visited = shard[order].tolist()
        groups: list[set[int]] = [set()]
        for each in visited:
            if each not in groups[-1] and len(groups[-1]) == window:
                groups.append(set())
            groups[-1].add(each)
        assert sum(map(len, groups)) == shards
        assert len(groups) == -(-shards // window)


def test_within_a_window_every_order_is_as_likely() -> None:
    """Three shards of one video each in windows of two: six orders of equal share over 1500 epochs."""
    orders = [tuple(windowed_permutation(0, epoch, np.arange(3), 2)) for epoch in range(1500)]
    counts = [orders.count(order) for order in set(orders)]
    assert len(counts) == 6
    # Five deviations of a binomial share of a sixth.
    assert max(abs(count - 250) for count in counts) < 5 * (1500 * 5 / 36) ** 0.5


def test_a_window_of_all_shards_mixes_everything() -> None:
    shard = np.repeat(np.arange(4), 3)
    first = [int(windowed_permutation(1, epoch, shard, 4)[0]) for epoch in range(400)]
    assert set(first) == set(range(12))
    switches = [np.count_nonzero(np.diff(shard[windowed_permutation(1, epoch, shard, 4)])) for epoch in range(400)]
    # Of eleven neighbours, 11 * 9 / 11 = 9 lie in different shards on average.
    assert abs(np.mean(switches) - 9) < 0.3
