"""Batches on the device before they are needed: copied beside the computation, on a stream of their own."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing

import torch
from torch import Tensor

from adamae.training.engine import Batch, to_device


def prefetched(batches: Iterable[Batch], device: torch.device) -> Generator[Batch, None, None]:
    """The same batches, each on its way to a CUDA device while the one before it is computed on.

    Without this the copy, though the host does not wait for it, stands in the queue of the computation. Other devices
    get their batches as they are. One batch more than is asked for is taken from ``batches``,
    which closing the generator closes.

    Args:
        batches: From the loader; copies overlap if they lie in pinned memory.
        device: Where they are wanted.
    """
    if device.type != "cuda":
        yield from batches
        return
    copying = torch.cuda.Stream(device)
    coming: _Coming | None = None
    with closing(_each(batches)) as stream:
        for batch in stream:
            following = _Coming(batch, device, copying)
            if coming is not None:
                yield coming.arrived()
            coming = following
    if coming is not None:
        yield coming.arrived()


def _each(batches: Iterable[Batch]) -> Generator[Batch, None, None]:
    yield from batches


class _Coming:
    """A batch on its way to the device."""

    def __init__(self, batch: Batch, device: torch.device, copying: torch.cuda.Stream) -> None:
        self._device = device
        with torch.cuda.stream(copying):
            self._batch = to_device(batch, device)
        self._arrival = torch.cuda.Event()
        self._arrival.record(copying)

    def arrived(self) -> Batch:
        """The batch, for use by the computation from here on; it is the device that waits for it, not the host."""
        computing = torch.cuda.current_stream(self._device)
        computing.wait_event(self._arrival)
        for value in self._batch.values():
            if isinstance(value, Tensor) and value.device.type == "cuda":
                # Its memory was taken on the other stream, which must not have it back before this one is done.
                value.record_stream(computing)
        return self._batch
