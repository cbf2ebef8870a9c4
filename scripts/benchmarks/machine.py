"""The kind of machine that a table was measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

# Which of a CPU's instructions decide how fast products are, the fastest last.
_INSTRUCTIONS = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_bf16": "AVX512-BF16", "amx_bf16": "AMX-BF16"}


def machine() -> str:
    """Processor, its cores and vector instructions, or the GPU; and torch's version."""
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    known = _cpuinfo()
    flags = known.get("flags", "").split()
    vectors = [name for flag, name in _INSTRUCTIONS.items() if flag in flags][-1:]
    cores = f"{os.cpu_count()} cores"
    return ", ".join([known.get("model name", platform.machine()), *vectors, cores, f"torch {torch.__version__}"])


def _cpuinfo() -> dict[str, str]:
    """Of the first processor; nothing where Linux does not tell."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().split("\n\n")[0].splitlines() if path.exists() else []
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, _, value in pairs}
