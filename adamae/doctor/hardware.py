"""Check the GPUs, their driver, and NCCL."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from adamae.doctor.findings import Finding

_DRIVER_FILE = Path("/proc/driver/nvidia/version")
_DRIVER_TIMEOUT = 30
# With these settings NCCL uses host memory or TCP.
_SLOW_SETTINGS = ("NCCL_P2P_DISABLE", "NCCL_SHM_DISABLE", "NCCL_IB_DISABLE", "NCCL_NET_GDR_DISABLE")
# Fraction of free GPU memory below which another process uses the GPU.
_FREE_SHARE = 0.9


def check_hardware() -> list[Finding]:
    """Check everything about GPUs; on a machine without one, only the driver."""
    driver, reason = nvidia_driver(), ""
    available = torch.cuda.is_available()
    if driver and torch.version.cuda and not available:
        try:
            torch.cuda.init()
        except (RuntimeError, AssertionError) as error:
            reason = str(error).partition("\n")[0]
    found = [judge_driver(driver, torch.version.cuda, available, reason)]
    if available:
        found += [_check_gpus(), _check_nccl()]
    return found


def nvidia_driver() -> str | None:
    """Return the version of NVIDIA's kernel driver; None if none is loaded."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_DRIVER_TIMEOUT, check=True)
        return done.stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        pass
    try:
        version = re.search(r"(\d+\.[\d.]+)", _DRIVER_FILE.read_text())
        return version[1] if version else None
    except OSError:
        return None


def judge_driver(driver: str | None, built_for: str | None, available: bool, reason: str) -> Finding:
    """Check whether torch and the driver are compatible.

    Args:
        driver: Version of the driver; None without a driver.
        built_for: CUDA version of torch's build; None for a build without CUDA.
        available: Whether torch can use a GPU.
        reason: Why not: torch's error message.
    """
    value = f"driver {driver or 'none'}, torch built for {f'CUDA {built_for}' if built_for else 'the CPU'}"
    if available:
        return Finding("GPU driver", value)
    if driver is None:
        note = "no GPU was found: training on the CPU is for trials alone" if built_for else ""
        return Finding("GPU driver", value, note=note)
    if built_for is None:
        return Finding("GPU driver", value, "torch was built without CUDA: install torch's CUDA build")
    return Finding(
        "GPU driver",
        value,
        f"torch cannot use the GPU ({reason or 'no device is visible'}): expected a driver for CUDA {built_for}, and "
        "CUDA_VISIBLE_DEVICES unset or with existing GPUs",
    )


def _check_gpus() -> Finding:
    count = torch.cuda.device_count()
    names, free, arches = [], [], torch.cuda.get_arch_list()
    for index in range(count):
        properties = torch.cuda.get_device_properties(index)
        names.append(f"{properties.name} {properties.total_memory / 2**30:.0f} GiB")
        unused, total = torch.cuda.mem_get_info(index)
        free.append(unused / total)
    value = ", ".join(f"{names.count(name)} x {name}" for name in dict.fromkeys(names))
    capability = torch.cuda.get_device_capability(0)
    return judge_gpus(f"{value}, compute capability {'.'.join(map(str, capability))}", capability, arches, free)


def judge_gpus(value: str, capability: tuple[int, int], arches: Sequence[str], free: Sequence[float]) -> Finding:
    """Check whether torch has kernels for the GPUs and no other process uses them.

    Args:
        value: Description of the GPUs.
        capability: Compute capability of the first GPU.
        arches: Architectures that torch was built for, such as ``sm_90``.
        free: Fraction of each GPU's memory that is free.
    """
    built = sorted({int(match[1]) for match in (re.search(r"(\d+)", arch) for arch in arches) if match})
    number = 10 * capability[0] + capability[1]
    # Kernels also run on later minor versions, and PTX (compute_90) is compiled for later major versions.
    fits = any(each // 10 == capability[0] and each <= number for each in built)
    fits |= any(arch.startswith("compute_") and int(re.sub(r"\D", "", arch)) <= number for arch in arches)
    if built and not fits:
        return Finding("GPU", value, f"torch was built for {', '.join(arches)}: install a build for this GPU")
    busy = [str(index) for index, share in enumerate(free) if share < _FREE_SHARE]
    note = f"memory of GPU {', '.join(busy)} is in use by other processes (nvidia-smi)" if busy else ""
    if capability[0] < 8:
        note = "; ".join(filter(None, (note, "no bf16: runs use fp16 with loss scaling")))
    return Finding("GPU", value, note=note)


def _check_nccl() -> Finding:
    count = torch.cuda.device_count()
    version = ".".join(map(str, torch.cuda.nccl.version()))
    pairs = [(a, b) for a in range(count) for b in range(count) if a != b]
    peers = all(torch.cuda.can_device_access_peer(a, b) for a, b in pairs)
    return judge_nccl(version, peers if pairs else None, os.environ)


def judge_nccl(version: str, peers: bool | None, environment: Mapping[str, str]) -> Finding:
    """Check NCCL and its settings.

    Args:
        version: Version of NCCL.
        peers: Whether all GPUs have peer access to each other's memory; None for a single GPU.
        environment: Environment variables; those that begin with NCCL_ are listed.
    """
    settings = sorted(f"{name}={value}" for name, value in environment.items() if name.startswith("NCCL_"))
    value = ", ".join([version, *settings])
    slow = [name for name in _SLOW_SETTINGS if environment.get(name, "0") not in ("", "0")]
    notes = [f"unset {', '.join(slow)} unless NCCL hangs without"] if slow else []
    if peers is False:
        notes.append("GPUs do not reach each other's memory: gradients go through host memory")
    return Finding("NCCL", value, note="; ".join(notes))
