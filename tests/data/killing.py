"""Emulate a system that kills a worker process while it reads a video."""

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
    """Kill the only worker process the first ``times`` times that it opens ``path``.

    The file is replaced by a named pipe, on which the worker waits. The file is restored before the last kill.

    Yields:
        Process ids of the workers killed so far.
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
            except OSError:  # no reader yet
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
            # The worker's end of the pipe is closed when the process has ended.
            while Path(f"/proc/{worker.pid}").exists():
                time.sleep(0.01)
            os.close(own)

    thread = threading.Thread(target=wait_and_kill, daemon=True)
    thread.start()
    try:
        yield killed
    finally:
        thread.join()
