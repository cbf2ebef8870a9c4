"""One run in one output directory at a time."""

from __future__ import annotations

import errno
import fcntl
from pathlib import Path
from typing import IO

from adamae.errors import UserError

# Open for as long as this process lives: the locks go with it, however it ends, and loader workers do not inherit them.
_held: list[IO[str]] = []


def lock_directory(directory: str | Path) -> None:
    """Keep the runs of other processes out of a directory until this process ends.

    Two of them would take turns at overwriting each other's checkpoints and lines of the log.

    Args:
        directory: The run's output directory; it exists.

    Raises:
        UserError: Another process holds the lock.
    """
    try:
        file = (Path(directory) / ".lock").open("a")
        _held.append(file)
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # Any other error comes from a file system without locks, where people have to look out for themselves.
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise UserError(
                f"--output_dir {directory}: in use by another run; wait until it ends, or choose another directory"
            ) from error
