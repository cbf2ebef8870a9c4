"""Check limits of the operating system that affect loader workers and GPUs."""

from __future__ import annotations

import math
import resource
import shutil
from pathlib import Path

from adamae.cores import usable_cores
from adamae.data.loader import choose_workers
from adamae.doctor.findings import Finding
from adamae.plain_text import counted

_SHARED_MEMORY = Path("/dev/shm")
_INFINIBAND = Path("/sys/class/infiniband")
# A usual micro-batch: 32 clips of 16 frames of 224x224 pixels of three bytes; each worker prefetches two of them.
_BATCH_BYTES = 32 * 16 * 224 * 224 * 3
_PREFETCH = 2
# Smallest size to recommend for /dev/shm.
_GOOD_SHARED = 16 * 2**30
# Open files of a run in addition to those of its workers: a tensor in shared memory is an open file.
_OPEN_FILES = 1024
_OPEN_FILES_OF_WORKER = 256
_GOOD_OPEN_FILES = 65536


def check_system(processes: int) -> list[Finding]:
    """Check cores, shared memory and limits of this process.

    Args:
        processes: Training processes on this machine, which share its shared memory.
    """
    workers = choose_workers(None)
    found = [Finding("CPU cores", f"{usable_cores()} for this process, {workers} loader workers by default")]
    if _SHARED_MEMORY.is_dir():
        found.append(judge_shared_memory(shutil.disk_usage(_SHARED_MEMORY).free, workers, processes))
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    locked = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    infiniband = _INFINIBAND.is_dir() and any(_INFINIBAND.iterdir())
    return [*found, judge_open_files(*files, workers), judge_locked_memory(locked, infiniband)]


def judge_shared_memory(free: int, workers: int, processes: int) -> Finding:
    """Check whether the batches of all workers of all processes fit into /dev/shm.

    Args:
        free: Free space in bytes.
        workers: Loader workers of one training process.
        processes: Training processes on this machine.
    """
    needed = _BATCH_BYTES * _PREFETCH * workers * processes
    value = f"{free / 2**30:.1f} GiB free in {_SHARED_MEMORY}"
    if free >= needed:
        return Finding("shared memory", value)
    each = f" in each of {processes} training processes" if processes > 1 else ""
    change = (
        f"batches of 32 clips take {needed / 2**30:.1f} GiB with {counted(workers, 'worker')}{each}: "
        f"docker run --shm-size {math.ceil(max(needed, _GOOD_SHARED) / 2**30)}g, or fewer --num_workers"
    )
    return Finding("shared memory", value, change)


def judge_open_files(soft: int, hard: int, workers: int) -> Finding:
    """Check whether workers may open enough files.

    Args:
        soft: Current (soft) limit; negative for none.
        hard: Hard limit, to which a process may raise the soft limit.
        workers: Loader workers of one training process.
    """
    needed = _OPEN_FILES + _OPEN_FILES_OF_WORKER * workers
    value = f"{_amount(soft)} (at most {_amount(hard)})"
    if soft < 0 or soft >= needed:
        return Finding("open files", value)
    if soft == hard:
        raised = (
            f"only root can raise the hard limit: docker run --ulimit nofile={_GOOD_OPEN_FILES}, or nofile in "
            "/etc/security/limits.conf; or fewer --num_workers"
        )
    else:
        raised = f"ulimit -n {_GOOD_OPEN_FILES if hard < 0 else min(hard, _GOOD_OPEN_FILES)}"
    if soft < _OPEN_FILES:
        return Finding("open files", value, f"too few for {counted(workers, 'worker')}: {raised}")
    return Finding("open files", value, note=f"many workers and shards need more: {raised}")


def judge_locked_memory(soft: int, infiniband: bool) -> Finding:
    """Check whether memory may be locked without limit, as InfiniBand requires.

    Args:
        soft: Current limit in bytes; negative for none.
        infiniband: Whether the machine has an InfiniBand device.
    """
    value = "unlimited" if soft < 0 else f"{soft / 2**20:.0f} MiB"
    if soft < 0 or not infiniband:
        return Finding("locked memory", value)
    return Finding("locked memory", value, "InfiniBand cannot register memory: ulimit -l unlimited")


def _amount(limit: int) -> str:
    return "unlimited" if limit < 0 else str(limit)
