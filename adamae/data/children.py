"""Child processes that do not outlive what started them, however it ends.

Workers ignore the signals that ask a run to leave. The hook by which multiprocessing ends its children sends just such
a signal and then waits without a limit, so a program that ends while it has workers would never be gone.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import threading
import weakref
from collections.abc import Iterable
from multiprocessing.process import BaseProcess

# Each with the process that started it: what is forked inherits this too.
_children: weakref.WeakKeyDictionary[BaseProcess, int] = weakref.WeakKeyDictionary()


def end_with_this_process(processes: Iterable[BaseProcess]) -> None:
    """Kill these children when this process ends, should they be there then.

    Hooks run in the reverse of their order: ours, set once there are children, before that of multiprocessing.
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
    """Called by a child: it ends as soon as its parent is gone, also where that was killed."""
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
