"""One-line messages for failed memory allocations, which a smaller batch or network would fix."""

from __future__ import annotations

import re

# Torch's message if CPU memory cannot be allocated; for a GPU it has its own exception.
_ON_CPU = re.compile(r"can't allocate memory: you tried to allocate (\d+) bytes")
_ON_GPU = "OutOfMemoryError"
_NUMPY = re.compile(r"Unable to allocate (\S+ \S+) for an array")
_SIZE_ON_GPU = re.compile(r"Tried to allocate (\S+ \S+?)\.(?: |$)")


def out_of_memory(error: BaseException) -> str | None:
    """Return a one-line message for a failed allocation; None for other errors."""
    text = str(error)
    on_cpu = _ON_CPU.search(text)
    # Compare the name, to avoid an import of torch.
    if not (isinstance(error, MemoryError) or on_cpu or type(error).__name__ == _ON_GPU):
        return None
    found = _NUMPY.search(text) or _SIZE_ON_GPU.search(text)
    size = f"{int(on_cpu[1]) / 2**30:.1f} GiB" if on_cpu else found[1] if found else "more memory"
    where = " on the GPU" if type(error).__name__ == _ON_GPU else ""
    return f"out of memory: could not allocate {size}{where}; smaller batches, clips or networks need less"
