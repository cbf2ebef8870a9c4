"""Prefetching of batches to the device: copies run beside the computation, on a separate stream."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing

import torch
from torch import Tensor

from adamae.data.batch import Batch
from adamae.training.engine import to_device


def prefetched(batches: Iterable[Batch], device: torch.device) -> Generator[Batch, None, None]:
    """Yield the same batches; each is copied to a CUDA device during the computation on the previous one.

    Without prefetching, the copy is asynchronous for the host but queued behind the computation. Other devices get
    their batches unchanged. One batch is taken from ``batches`` in advance. Closing the generator closes ``batches``.

    Args:
        batches: Batches of the loader; copies overlap only if they are in pinned memory.
        device: Target device.
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
    """A batch that is being copied to the device."""

    def __init__(self, batch: Batch, device: torch.device, copying: torch.cuda.Stream) -> None:
        self._device = device
        with torch.cuda.stream(copying):
            self._batch = to_device(batch, device)
        self._arrival = torch.cuda.Event()
        self._arrival.record(copying)

    def arrived(self) -> Batch:
        """Return the batch for the current stream; the device waits for the copy, the host does not."""
        computing = torch.cuda.current_stream(self._device)
        computing.wait_event(self._arrival)
        for value in self._batch.values():
            if isinstance(value, Tensor) and value.device.type == "cuda":
                # The memory was allocated on the other stream, which must not reuse it before this one is finished.
                value.record_stream(computing)
        return self._batch
