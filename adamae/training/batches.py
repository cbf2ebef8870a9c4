"""A rank's micro-batches, from any position of a run on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from adamae.data.batch import Batch
from adamae.data.dataset import ClipDataset
from adamae.data.loader import build_loader, choose_workers
from adamae.distributed import World
from adamae.training.mixing import Mixing


@dataclass(frozen=True)
class Batches:
    """See :class:`~adamae.training.loop.BatchStream`.

    Attributes:
        dataset: The clips.
        world: The processes that share each step.
        batch_size: Videos in a micro-batch.
        accumulation: Micro-batches in a step.
        num_workers: Loader workers; None chooses a number.
        pin_memory: Pin batches in memory so that copies to a GPU are asynchronous.
        mixing: Mixup and cutmix; None for no mixing.
    """

    dataset: ClipDataset
    world: World
    batch_size: int
    accumulation: int
    num_workers: int | None
    pin_memory: bool
    mixing: Mixing | None = None

    @property
    def num_videos(self) -> int:
        """Number of videos in the list."""
        return len(self.dataset)

    def rows_of(self, paths: Iterable[str]) -> dict[str, list[int]]:
        """Return the rows of the list with each of these paths, by path."""
        found: dict[str, list[int]] = {path: [] for path in paths}
        for row in range(self.num_videos if found else 0):
            if (path := self.dataset.annotations.path(row)) in found:
                found[path].append(row)
        return found

    def quarantine(self, rows: Iterable[int]) -> None:
        """Exclude these rows of the list from now on."""
        self.dataset.watch.quarantine(rows)

    def __call__(self, epoch: int, micro_batch: int) -> Iterable[Batch]:
        """Iterate over this rank's micro-batches from ``micro_batch`` of ``epoch`` on, without end."""
        stream = build_loader(
            self.dataset,
            batch_size=self.batch_size,
            world_size=self.world.size,
            rank=self.world.rank,
            accumulation=self.accumulation,
            epoch=epoch,
            batch=micro_batch,
            num_workers=choose_workers(self.num_workers),
            pin_memory=self.pin_memory and self.world.device.type == "cuda",
        )
        return stream if self.mixing is None else self.mixing.over(stream)
