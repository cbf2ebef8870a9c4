"""Memory that could not be allocated, told in one line: a smaller batch or network is what mends it."""

from __future__ import annotations

import re

# How torch words that the CPU's memory cannot be had; of a GPU it has an error of its own.
_ON_CPU = re.compile(r"can't allocate memory: you tried to allocate (\d+) bytes")
_ON_GPU = "OutOfMemoryError"
_NUMPY = re.compile(r"Unable to allocate (\S+ \S+) for an array")
_SIZE_ON_GPU = re.compile(r"Tried to allocate (\S+ \S+?)\.(?: |$)")


def out_of_memory(error: BaseException) -> str | None:
    """One line about an allocation that failed; None if the error is another."""
    text = str(error)
    on_cpu = _ON_CPU.search(text)
    # By name: nothing here imports torch.
    if not (isinstance(error, MemoryError) or on_cpu or type(error).__name__ == _ON_GPU):
        return None
    found = _NUMPY.search(text) or _SIZE_ON_GPU.search(text)
    size = f"{int(on_cpu[1]) / 2**30:.1f} GiB" if on_cpu else found[1] if found else "more memory"
    where = " on the GPU" if type(error).__name__ == _ON_GPU else ""
    return f"out of memory: could not allocate {size}{where}; smaller batches, clips or networks need less"
