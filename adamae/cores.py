"""CPU cores that this process may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_MEMBERSHIP, _CGROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Return the number of cores that this process may use, at least 1.

    Those are the cores of its CPU affinity, which Slurm restricts, but at most the CPU quota of its control group,
    which containers have (``docker run --cpus``, the CPU limit of Kubernetes).
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    return cores if quota is None else max(1, min(cores, int(quota)))


def cpu_quota(membership: Path = _MEMBERSHIP, root: Path = _CGROUPS) -> float | None:
    """Return the CPU quota of this process in cores, the lowest of its control group and those above; None without.

    Args:
        membership: File with the process's control groups.
        root: Where the control groups, version 1 or 2, are mounted.
    """
    try:
        # Names of groups may hold any byte but NUL and newline.
        lines = membership.read_text(errors="surrogateescape").split("\n")
    except OSError:
        return None
    quotas = [quota for line in lines for quota in _quotas(line, root)]
    return min(quotas, default=None)


def _quotas(line: str, root: Path) -> Iterator[float]:
    """Yield the quotas of one line ``ID:CONTROLLERS:GROUP``. Version 2 has no controllers in it."""
    _, _, rest = line.partition(":")
    controllers, _, group = rest.partition(":")
    if not group or (controllers and "cpu" not in controllers.split(",")):
        return
    # In a container the group may be the host's path, of which only the root exists.
    path = PurePosixPath(group)
    for level in (path, *path.parents):
        folder = root / ("cpu" if controllers else "") / str(level).lstrip("/")
        try:
            if controllers:
                quota, period = (int((folder / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
            else:
                quota, period = map(int, (folder / "cpu.max").read_text().split())
        # Not there, not readable, or "max": no limit.
        except (OSError, ValueError):
            continue
        if quota > 0 and period > 0:
            yield quota / period
