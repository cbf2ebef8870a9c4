"""Run all checks, in the order in which they are printed."""

from __future__ import annotations

import socket
from pathlib import Path

from adamae.distributed import World
from adamae.doctor.findings import Finding
from adamae.doctor.folders import check_data, check_output
from adamae.doctor.hardware import check_hardware
from adamae.doctor.software import check_software
from adamae.doctor.system import check_system
from adamae.doctor.trial import try_steps


def examine(world: World, output: Path, data: str | None = None) -> list[Finding]:
    """Check this machine and run a few training steps with all processes.

    Args:
        world: The processes; all of them must call this function.
        output: Folder for checkpoints, which need not exist yet.
        data: Folder or list of videos or images, or shards; or None.

    Returns:
        All findings on the main process; only those about the processes and the trial run on the others.
    """
    here = socket.gethostname()
    hosts = world.gather(here)
    found: list[Finding] = []
    if world.is_main:
        found = [*check_software(world.size), *check_hardware(), *check_system(hosts.count(here))]
        found.append(check_output(output))
        found += [] if data is None else [check_data(data)]
    if world.size > 1:
        counts = ", ".join(f"{hosts.count(host)} on {host}" for host in dict.fromkeys(hosts))
        found.append(Finding("processes", f"{counts}; all respond"))
    return [*found, try_steps(world)]
