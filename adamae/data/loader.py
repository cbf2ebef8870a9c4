"""Endless stream of batches of a dataset, independent of the number of processes and workers."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from functools import partial

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler, default_collate

from adamae.cores import usable_cores
from adamae.data.batch import Batch
from adamae.data.dataset import ClipDataset, Sample
from adamae.data.watched_loader import watched_batches
from adamae.errors import UserError
from adamae.randomness import epoch_permutation

_MOST_WORKERS = 8
# (seed, epoch, num_rows) -> (num_rows,) order of the rows in an epoch
EpochOrder = Callable[[int, int, int], np.ndarray]


class BatchKeys(Sampler[list[tuple[int, int]]]):
    """Endless batches of (epoch, row) keys for one rank.

    An epoch is one permutation of the list's rows, split into steps of ``world_size * accumulation * batch_size`` rows;
    the remainder is dropped. A step is split into micro-batches, and each micro-batch across ranks, so that the rows of
    a step do not depend on the split. A list shorter than one step is repeated to fill it.

    Args:
        num_rows: Rows in the list.
        batch_size: Rows in one micro-batch of one rank.
        world_size: Number of ranks.
        rank: Index of this rank.
        accumulation: Micro-batches in a step.
        seed: The run's seed.
        epoch: First epoch.
        batch: First micro-batch within that epoch.
        order: Returns the order of the rows in an epoch.

    Raises:
        UserError: There are no rows, or a size is below 1.
    """

    def __init__(
        self,
        num_rows: int,
        batch_size: int,
        *,
        world_size: int = 1,
        rank: int = 0,
        accumulation: int = 1,
        seed: int = 0,
        epoch: int = 0,
        batch: int = 0,
        order: EpochOrder = epoch_permutation,
    ) -> None:
        if min(num_rows, batch_size, world_size, accumulation) < 1:
            raise UserError(
                f"{num_rows} rows in batches of {batch_size} on {world_size} processes, {accumulation} to a step: "
                "expected at least 1 of each"
            )
        self._num_rows = num_rows
        self._batch_size = batch_size
        self._world_size = world_size
        self._rank = rank
        self._accumulation = accumulation
        self._seed = seed
        self._epoch = epoch
        self._batch = batch
        self._order = order

    @property
    def steps_per_epoch(self) -> int:
        """Steps in an epoch, at least 1."""
        return max(self._num_rows // (self._batch_size * self._world_size * self._accumulation), 1)

    @property
    def batches_per_epoch(self) -> int:
        """Micro-batches of one rank in an epoch."""
        return self.steps_per_epoch * self._accumulation

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, first = self._epoch + self._batch // self.batches_per_epoch, self._batch % self.batches_per_epoch
        while True:
            rows = self._rows(epoch)
            for batch in range(first, self.batches_per_epoch):
                yield [(epoch, row) for row in rows[batch].tolist()]
            epoch, first = epoch + 1, 0

    def _rows(self, epoch: int) -> np.ndarray:
        """(micro-batches, batch size): this rank's rows of an epoch."""
        order = self._order(self._seed, epoch, self._num_rows)
        shape = (self.batches_per_epoch, self._world_size, self._batch_size)
        return np.resize(order, shape)[:, self._rank]


class Loader:
    """An endless stream of batches. Each iterator starts at the same batch, and ends when it is closed.

    Args:
        batches: Returns a generator of batches, with a ``UserError`` in place of a batch that failed.
        steps_per_epoch: Steps in an epoch.
    """

    def __init__(self, batches: Callable[[], Generator[Batch | UserError, None, None]], steps_per_epoch: int) -> None:
        self.steps_per_epoch = steps_per_epoch
        self._batches = batches

    def __iter__(self) -> Generator[Batch, None, None]:
        with closing(self._batches()) as batches:
            for batch in batches:
                if isinstance(batch, UserError):
                    raise batch
                yield batch


class _Reporting(Dataset[Sample | UserError]):
    """Returns a worker's error as a value: if it were raised there, its message would become a traceback."""

    def __init__(self, dataset: ClipDataset) -> None:
        self._dataset = dataset

    def __getitem__(self, key: tuple[int, int]) -> Sample | UserError:
        try:
            return self._dataset[key]
        except UserError as error:
            return error


def collate(samples: list[Sample | UserError]) -> Batch | UserError:
    """Join samples of R clips each into one batch of ``len(samples) * R`` clips, and their ``bad`` into one list.

    An error among the samples is returned in place of the batch.
    """
    whole = []
    for sample in samples:
        if isinstance(sample, UserError):
            return sample
        whole.append(sample)
    batch: Batch = {
        name: default_collate([sample[name] for sample in whole]).flatten(0, 1) for name in whole[0] if name != "bad"
    }
    return batch | {"bad": [entry for sample in whole for entry in sample["bad"]]}


def build_loader(
    dataset: ClipDataset,
    *,
    batch_size: int,
    world_size: int = 1,
    rank: int = 0,
    accumulation: int = 1,
    epoch: int = 0,
    batch: int = 0,
    num_workers: int = 0,
    pin_memory: bool = False,
    prefetch: int = 2,
) -> Loader:
    """Create an endless loader for one rank; its workers continue across epochs without a pause.

    A video that hangs or crashes a worker is quarantined, see :mod:`~adamae.data.watched_loader`.

    Args:
        dataset: The clips. Its seed also determines the order of the list.
        batch_size: Videos in a batch, with ``dataset.num_sample`` clips each.
        world_size: Number of ranks.
        rank: Index of this rank.
        accumulation: Micro-batches in a step.
        epoch: First epoch.
        batch: First micro-batch within that epoch.
        num_workers: Decoding processes with one thread each; 0 decodes in this process.
        pin_memory: Use pinned memory for batches if CUDA is available.
        prefetch: Number of batches that each worker prefetches.

    Returns:
        Batches of B = ``batch_size * num_sample`` clips: ``clip`` (B, T, H, W, 3) uint8, ``index``, ``seed`` and
        ``label`` (B,) int64, ``motion_mask`` (B, T, H, W) bool if motion masks are loaded, ``bad`` a list of dicts.
    """

    def keys_from(number: int) -> BatchKeys:
        return BatchKeys(
            len(dataset),
            batch_size,
            world_size=world_size,
            rank=rank,
            accumulation=accumulation,
            seed=dataset.seed,
            epoch=epoch,
            batch=batch + number,
            order=dataset.annotations.order,
        )

    batches: Callable[[], Generator[Batch | UserError, None, None]] = partial(
        watched_batches,
        _Reporting(dataset),
        keys_from,
        watch=dataset.watch,
        collate=collate,
        num_workers=num_workers,
        pin_memory=pin_memory and torch.cuda.is_available(),
        prefetch=prefetch,
    )
    return Loader(batches, keys_from(0).steps_per_epoch)


def choose_workers(asked: int | None, processes: int | None = None) -> int:
    """Return the number of workers: ``asked``, or else this process's share of the cores minus one, from 1 to 8.

    Args:
        asked: Requested number; None to choose one.
        processes: Training processes that share the cores of this machine; None for as many as the launcher started.
    """
    if asked is not None:
        return asked
    # Set by torchrun and the deepspeed launcher, respectively; under Slurm each task has its own cores.
    share = usable_cores() // (
        processes or int(os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("LOCAL_SIZE") or 1)
    )
    return min(max(share - 1, 1), _MOST_WORKERS)
