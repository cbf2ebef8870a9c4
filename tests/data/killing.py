"""Stands for the system that kills a process in the middle of a video."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def killed_at(path: Path, times: int) -> Iterator[list[int]]:
    """While this lasts, the worker process, of which there may be one, is killed so often when it opens ``path``.

    A pipe stands there until then, on which it waits; after that the file is back.

    Yields:
        Process ids of the killed, as far as they are.
    """
    killed: list[int] = []
    others = multiprocessing.active_children()
    content = path.read_bytes()
    path.unlink()
    os.mkfifo(path)

    def wait_and_kill() -> None:
        deadline = time.monotonic() + 60
        while len(killed) < times and time.monotonic() < deadline:
            try:
                own = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:  # nobody reads
                time.sleep(0.01)
                continue
            if len(killed) == times - 1:
                whole = path.with_name("whole")
                whole.write_bytes(content)
                whole.replace(path)
            (worker,) = [child for child in multiprocessing.active_children() if child not in others]
            assert worker.pid is not None
            os.kill(worker.pid, signal.SIGKILL)
            killed.append(worker.pid)
            # Its end of the pipe is gone when it is.
            while Path(f"/proc/{worker.pid}").exists():
                time.sleep(0.01)
            os.close(own)

    thread = threading.Thread(target=wait_and_kill, daemon=True)
    thread.start()
    try:
        yield killed
    finally:
        thread.join()
