"""Injection of write and read errors: build ``disk_faults.c``, preload it, and arm it."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

SOURCE = Path(__file__).with_name("disk_faults.c")
LOADED = "LD_PRELOAD"


def load_and_restart(module: str, words: list[str], build: Path) -> None:
    """Restart this program with the wrapper in LD_PRELOAD, unless it is loaded or cannot be built."""
    library = None if is_loaded() else built(build)
    if library is not None:
        environment = os.environ | {LOADED: str(library)}
        os.execve(sys.executable, [sys.executable, "-m", module, *words], environment)


def built(build: Path) -> Path | None:
    """Return the wrapper, built in a folder if it is missing there; None if it cannot be built."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    build.mkdir(parents=True, exist_ok=True)
    library = build / f"disk-faults-{sha256(SOURCE.read_bytes()).hexdigest()[:12]}.so"
    if not library.exists():
        # Several processes may build it at the same time.
        own = library.with_suffix(f".{os.getpid()}")
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", own, SOURCE, "-ldl"], check=True)
        own.replace(library)
    return library


def is_loaded() -> bool:
    """Return whether the wrapper is loaded in this process."""
    return hasattr(ctypes.CDLL(None), "faults_arm")


def arm(folder: Path, after: int, failure: int, *, by_bytes: bool = False, reading: bool = False) -> None:
    """Let writes below a folder fail from now on.

    Args:
        folder: The folder.
        after: Number of operations, or bytes, that still succeed.
        failure: The system's error number; a negative one is a signal that ends the process instead.
        by_bytes: Whether ``after`` counts bytes; the last write may be a short one.
        reading: Whether reading fails as well.
    """
    ctypes.CDLL(None).faults_arm(os.fsencode(folder), int(by_bytes), ctypes.c_long(after), failure, int(reading))


def arm_reading(folder: Path, after: int, failure: int, *, times: int = -1) -> None:
    """Let reads of the files below a folder fail from now on.

    Args:
        folder: The folder.
        after: Number of bytes at the beginning of each file that can be read.
        failure: The system's error number.
        times: Number of failures, after which all reads succeed; negative: no limit.
    """
    wrapper = ctypes.CDLL(None)
    wrapper.faults_arm_reading(os.fsencode(folder), ctypes.c_long(after), ctypes.c_long(times), failure)


def seen() -> tuple[int, int]:
    """Return the number of operations and bytes since the wrapper was armed."""
    operations, size = ctypes.c_long(), ctypes.c_long()
    ctypes.CDLL(None).faults_seen(ctypes.byref(operations), ctypes.byref(size))
    return operations.value, size.value
