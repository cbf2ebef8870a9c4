"""The order of batches, and the same batches from any number of processes and workers."""

import os
import signal
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from adamae.data.annotations import load_annotations
from adamae.data.batch import Batch
from adamae.data.dataset import PretrainDataset, pretrain_dataset
from adamae.data.loader import BatchKeys, build_loader
from adamae.errors import UserError
from adamae.randomness import epoch_permutation, sample_seed

Keys = list[tuple[int, int]]


def first(keys: BatchKeys, count: int) -> list[Keys]:
    return list(islice(keys, count))


def joined(batches: list[Keys]) -> Keys:
    return [key for batch in batches for key in batch]


def test_any_division_of_a_step_has_the_same_rows_in_the_same_order(rng: np.random.Generator) -> None:
    for _ in range(20):
        rows, seed = int(rng.integers(24, 200)), int(rng.integers(100))
        whole = BatchKeys(rows, 24, seed=seed)
        steps = whole.steps_per_epoch + 2  # into the second epoch
        for world, accumulation in ((1, 2), (2, 1), (3, 1), (2, 3), (4, 2), (1, 24)):
            size = 24 // world // accumulation
            ranks = [
                first(
                    BatchKeys(rows, size, world_size=world, rank=rank, accumulation=accumulation, seed=seed),
                    steps * accumulation,
                )
                for rank in range(world)
            ]
            divided = [key for batches in zip(*ranks, strict=True) for key in joined(list(batches))]
            assert divided == joined(first(whole, steps))


def test_an_epoch_is_a_permutation_without_its_incomplete_tail() -> None:
    keys = BatchKeys(23, 5, seed=1)
    assert keys.steps_per_epoch == 4
    got = joined(first(keys, 8))
    for epoch in range(2):
        expected = epoch_permutation(1, epoch, 23)[:20].tolist()
        assert got[20 * epoch : 20 * epoch + 20] == [(epoch, row) for row in expected]


def test_a_short_list_is_repeated_to_fill_a_step() -> None:
    ranks = [BatchKeys(3, 4, world_size=2, rank=rank) for rank in range(2)]
    assert ranks[0].steps_per_epoch == 1
    order = epoch_permutation(0, 0, 3).tolist()
    got = [row for keys in ranks for _, row in first(keys, 1)[0]]
    assert got == (order * 3)[:8]


@pytest.mark.parametrize("accumulation", [1, 2])
def test_begin_anywhere(accumulation: int) -> None:
    whole = first(BatchKeys(30, 4, accumulation=accumulation), 40)
    per_epoch = BatchKeys(30, 4, accumulation=accumulation).batches_per_epoch
    for start in range(25):
        resumed = BatchKeys(30, 4, accumulation=accumulation, epoch=start // per_epoch, batch=start % per_epoch)
        assert first(resumed, 10) == whole[start : start + 10]
        assert first(BatchKeys(30, 4, accumulation=accumulation, batch=start), 10) == whole[start : start + 10]


def test_sizes_that_make_no_batch() -> None:
    with pytest.raises(UserError, match="8 rows in batches of 0 on 1 processes"):
        BatchKeys(8, 0)


def dataset(videos: Path, **options: object) -> PretrainDataset:
    settings = {"num_frames": 4, "sampling_rate": 2, "size": 32, "seed": 3} | options
    return pretrain_dataset(load_annotations(videos), **settings)  # type: ignore[arg-type]


def same(one: Batch, other: Batch) -> bool:
    tensors = (torch.equal(one[name], other[name]) for name in one if name != "bad")
    return one.keys() == other.keys() and one["bad"] == other["bad"] and all(tensors)


def test_batches_hold_what_the_contract_says(videos: Path) -> None:
    loader = build_loader(dataset(videos, num_sample=2), batch_size=3)
    assert loader.steps_per_epoch == 2
    batch = next(iter(loader))
    assert {name: (tuple(v.shape), v.dtype) for name, v in batch.items() if name != "bad"} == {
        "clip": ((6, 4, 32, 32, 3), torch.uint8),
        "index": ((6,), torch.int64),
        "seed": ((6,), torch.int64),
        "label": ((6,), torch.int64),
    }


def test_the_lists_order_is_that_of_the_data_sets_seed(videos: Path) -> None:
    (batch,) = islice(build_loader(dataset(videos, seed=3), batch_size=4), 1)
    rows = epoch_permutation(3, 0, 8)[:4].tolist()
    assert rows != epoch_permutation(0, 0, 8)[:4].tolist()
    # A damaged video keeps its place, and the seed of its row.
    assert batch["seed"].tolist() == [sample_seed(3, 0, row) for row in rows]


def test_workers_and_processes_change_nothing(videos: Path) -> None:
    """Damaged files and the step from one epoch to the next included."""
    data = dataset(videos)
    alone = list(islice(build_loader(data, batch_size=4), 4))
    assert sum(len(batch["bad"]) for batch in alone) >= 2
    with_workers = list(islice(build_loader(data, batch_size=4, num_workers=2), 4))
    assert all(map(same, alone, with_workers))
    later = list(islice(build_loader(data, batch_size=4, epoch=1, batch=0), 2))
    assert all(map(same, alone[2:], later))
    ranks = [islice(build_loader(data, batch_size=2, world_size=2, rank=rank), 4) for rank in range(2)]
    for whole, parts in zip(alone, zip(*ranks, strict=True), strict=True):
        assert torch.equal(whole["clip"], torch.cat([part["clip"] for part in parts]))
        assert whole["bad"] == [entry for part in parts for entry in part["bad"]]


def test_the_global_generators_are_left_alone(videos: Path) -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]
    list(islice(build_loader(dataset(videos), batch_size=2), 2))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # type: ignore[index]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_error_arrives_in_one_line(tmp_path: Path, num_workers: int) -> None:
    (tmp_path / "a.mp4").write_bytes(b"nothing")
    with pytest.raises(UserError, match="16 videos in a row cannot be read") as raised:
        next(iter(build_loader(dataset(tmp_path), batch_size=1, num_workers=num_workers)))
    assert "\n" not in str(raised.value)


def children() -> list[int]:
    """Process ids of this process's children."""
    return [int(pid) for pid in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc to find the workers")
def test_workers_outlive_the_signals_of_a_job_and_leave_with_the_loader(videos: Path) -> None:
    others = set(children())
    batches = iter(build_loader(dataset(videos), batch_size=2, num_workers=1))
    next(batches)
    (worker,) = set(children()) - others
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        os.kill(worker, number)
    assert len(list(islice(batches, 6))) == 6
    start = time.perf_counter()
    del batches
    assert worker not in children()
    assert time.perf_counter() - start < 5
