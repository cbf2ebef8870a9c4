"""Check the file systems that runs read from and write to."""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from adamae.data.annotations import load_annotations
from adamae.data.shards.names import expand, is_remote, names_shards
from adamae.doctor.findings import Finding
from adamae.errors import UserError
from adamae.lookup import exists
from adamae.plain_text import counted

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


def check_data(source: str) -> Finding:
    """Check whether a run can read a folder, a list or shards, and how fast; remote shards are not fetched."""
    what = source
    try:
        if names_shards(source):
            remote = [shard for shard in expand(source) if is_remote(shard)]
            if remote:
                change = "" if find_spec("webdataset") else "to fetch shards: pip install webdataset"
                return Finding("data", f"{source}: {counted(len(remote), 'remote shard')}, not fetched", change)
        elif not exists(source):
            return Finding("data", source, "no such file or folder")
        videos = load_annotations(source)
        what = f"{source}: {counted(len(videos), videos.noun)}"
        if videos.members is not None:
            return judge_data(f"{what} in shards on {_file_systems([videos.members.place(0)])}", None)
        step = -(-len(videos) // _READS)
        paths = [videos.path(row) for row in range(0, len(videos), step)]
        rate = _read_rate(paths)
    except UserError as error:
        return Finding("data", source, str(error))
    except OSError as error:
        return Finding("data", what, f"none of those tried can be read, for example {error.filename}: {error.strerror}")
    return judge_data(f"{what} on {_file_systems(paths)}", rate)


def judge_data(where: str, rate: float | None) -> Finding:
    """Check whether reading is fast enough.

    Args:
        where: The folder, list or shards, and the file system of the videos.
        rate: Files whose beginning is read per second; None for shards and for folders of frames.
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


def _file_systems(paths: Sequence[str]) -> str:
    """Return the types of the file systems of some files, each once."""
    mounts = _mounts()
    return " and ".join(dict.fromkeys(file_system(Path(os.path.realpath(path)), mounts) for path in paths))


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


def _read_rate(paths: Sequence[str]) -> float | None:
    """Return the files per second whose beginnings can be read; None for folders of frames.

    Raises:
        OSError: No file can be read.
    """
    begin, count, failure = time.perf_counter(), 0, None
    for path in paths:
        # Training also skips single files that cannot be read. Opening a pipe would block.
        try:
            if not stat.S_ISREG(Path(path).stat().st_mode):
                continue
            with Path(path).open("rb") as file:
                file.read(_READ_BYTES)
            count += 1
        except OSError as error:
            failure = error
        if time.perf_counter() - begin > _SECONDS:
            break
    if failure is not None and not count:
        raise failure
    return count / max(time.perf_counter() - begin, 1e-9) if count else None
