"""Description of the machine that a table was measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

# CPU instructions that determine the speed of matrix products, the fastest last.
_INSTRUCTIONS = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_bf16": "AVX512-BF16", "amx_bf16": "AMX-BF16"}


def machine() -> str:
    """Return the processor with its vector instructions and cores, or the GPU, and torch's version."""
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    known = _cpuinfo()
    flags = known.get("flags", "").split()
    vectors = [name for flag, name in _INSTRUCTIONS.items() if flag in flags][-1:]
    cores = f"{os.cpu_count()} cores"
    return ", ".join([known.get("model name", platform.machine()), *vectors, cores, f"torch {torch.__version__}"])


def _cpuinfo() -> dict[str, str]:
    """Return the fields of the first processor in /proc/cpuinfo; empty if there is no such file."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().split("\n\n")[0].splitlines() if path.exists() else []
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, _, value in pairs}
