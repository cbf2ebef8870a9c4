"""Child processes that do not outlive their parent, however it ends.

Workers ignore the signals that ask a run to stop. The exit hook of multiprocessing sends such a signal to its children
and then waits without a timeout, so a program that ends while it has workers would hang.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import threading
import weakref
from collections.abc import Iterable
from multiprocessing.process import BaseProcess

# Each with the id of the process that started it, since forked processes inherit this dictionary.
_children: weakref.WeakKeyDictionary[BaseProcess, int] = weakref.WeakKeyDictionary()


def end_with_this_process(processes: Iterable[BaseProcess]) -> None:
    """Kill these children when this process ends, if they are still alive.

    Exit hooks run in reverse order: this one is registered once there are children, to run before multiprocessing's.
    """
    _children.update((process, os.getpid()) for process in processes)
    atexit.unregister(_end_children)
    atexit.register(_end_children)


def _end_children() -> None:
    for process, parent in list(_children.items()):
        if parent == os.getpid() and process.is_alive():
            process.kill()
            process.join()


def leave_with_parent() -> None:
    """Make this child process exit as soon as its parent ends, even if the parent is killed."""
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
