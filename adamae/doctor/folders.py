"""Check the file systems that runs read from and write to."""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
import time
from contextlib import suppress
from itertools import islice
from pathlib import Path

from adamae.doctor.findings import Finding
from adamae.errors import UserError
from adamae.lookup import exists, is_folder

_MOUNTS = Path("/proc/self/mountinfo")
_NETWORK = re.compile(
    r"nfs.*|cifs|smb.*|lustre|gpfs|beegfs|ceph|fuse\..*|glusterfs|9p|wekafs|afs|pvfs2|orangefs|virtiofs"
)
# Two checkpoints of ViT-B with its optimiser state; two of ViT-H, and logs.
_LEAST_FREE, _GOOD_FREE = 3 * 2**30, 20 * 2**30
_WRITES, _WRITE_BYTES = 50, 4096
_READS, _READ_BYTES = 50, 65536
# Rates in files per second below which small files limit a run.
_SLOW_WRITES, _SLOW_READS = 20, 100
_SECONDS = 5.0


def check_output(folder: Path) -> Finding:
    """Check whether checkpoints can be written to a folder."""
    existing = _existing(folder)
    kind = file_system(existing, _mounts())
    name = "output folder"
    try:
        rate = _write_rate(existing)
    except OSError as error:
        return Finding(name, f"{existing}: {kind}", f"cannot be written: {error.strerror}")
    return judge_output(f"{existing}: {kind}", shutil.disk_usage(existing).free, rate)


def judge_output(where: str, free: int, rate: float) -> Finding:
    """Check whether free space and write speed are sufficient.

    Args:
        where: The folder and its file system.
        free: Free space in bytes.
        rate: Small files written and flushed per second.
    """
    value = f"{where}, {free / 2**30:.0f} GiB free, {rate:.0f} small files/s"
    if free < _LEAST_FREE:
        return Finding("output folder", value, f"expected at least {_LEAST_FREE / 2**30:.0f} GiB for two checkpoints")
    notes = [f"checkpoints of large models need {_GOOD_FREE / 2**30:.0f} GiB"] if free < _GOOD_FREE else []
    if rate < _SLOW_WRITES:
        notes.append("writing is slow: save checkpoints seldom (--save_ckpt_freq)")
    return Finding("output folder", value, note="; ".join(notes))


def check_data(path: Path) -> Finding:
    """Check whether a folder or list of videos can be read."""
    name = "data"
    kind = file_system(path.resolve(), _mounts())
    try:
        if not exists(path):
            return Finding(name, str(path), "no such file or folder")
        rate = _read_rate(path) if is_folder(path) else None
    except UserError as error:
        return Finding(name, kind, str(error))
    except OSError as error:
        return Finding(name, f"{path}: {kind}", f"cannot be read: {error.strerror}")
    return judge_data(f"{path}: {kind}", rate)


def judge_data(where: str, rate: float | None) -> Finding:
    """Check whether reading is fast enough.

    Args:
        where: The folder or list and its file system.
        rate: Files whose beginning is read per second; None for a list or a folder without files.
    """
    if rate is None:
        return Finding("data", where)
    slow = rate < _SLOW_READS
    note = "opening files is slow: adamae pack makes shards, which are read in one piece" if slow else ""
    return Finding("data", f"{where}, beginnings of {rate:.0f} files/s", note=note)


def file_system(path: Path, mounts: str) -> str:
    """Return the type of the file system of a path, and whether it is a network file system.

    Args:
        path: Absolute path without symbolic links.
        mounts: Content of /proc/self/mountinfo.
    """
    best, kind = "", "unknown"
    for line in mounts.splitlines():
        before, _, behind = line.partition(" - ")
        fields = before.split()
        if len(fields) < 5 or not behind:
            continue
        # Spaces are escaped as \040.
        point = re.sub(r"\\(\d{3})", lambda match: chr(int(match[1], 8)), fields[4])
        if len(point) >= len(best) and path.is_relative_to(point):
            best, kind = point, behind.split()[0]
    return f"{kind} (network)" if _NETWORK.fullmatch(kind) else kind


def _mounts() -> str:
    try:
        return _MOUNTS.read_text()
    except OSError:
        return ""


def _existing(folder: Path) -> Path:
    place = folder.resolve()
    while not os.path.exists(place):  # noqa: PTH110 (what cannot be looked up is no error here)
        place = place.parent
    return place


def _write_rate(folder: Path) -> float:
    """Return the small files per second that can be written and flushed to disk; they are removed afterwards."""
    content, begin = os.urandom(_WRITE_BYTES), time.perf_counter()
    with tempfile.TemporaryDirectory(dir=folder, prefix=".adamae-doctor-") as place:
        for number in range(_WRITES):
            with Path(place, str(number)).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if time.perf_counter() - begin > _SECONDS:
                break
        return (number + 1) / (time.perf_counter() - begin)


def _read_rate(folder: Path) -> float | None:
    files = [Path(place, name) for place, _, names in islice(os.walk(folder), _READS) for name in names][:_READS]
    begin, count = time.perf_counter(), 0
    for path in files:
        # Training also skips single files that cannot be read. Opening a pipe would block.
        with suppress(OSError):
            if not stat.S_ISREG(path.stat().st_mode):
                continue
            with path.open("rb") as file:
                file.read(_READ_BYTES)
            count += 1
        if time.perf_counter() - begin > _SECONDS:
            break
    return count / max(time.perf_counter() - begin, 1e-9) if count else None
