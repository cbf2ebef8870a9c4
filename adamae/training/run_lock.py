"""Lock that allows one run at a time in an output directory."""

from __future__ import annotations

import errno
import fcntl
from pathlib import Path
from typing import IO

from adamae.errors import UserError

# Open until this process ends: the locks are then released in any case, and loader workers do not inherit them.
_held: list[IO[str]] = []


def lock_directory(directory: str | Path) -> None:
    """Lock a directory against the runs of other processes until this process ends.

    Two runs in one directory would overwrite each other's checkpoints and log lines.

    Args:
        directory: The run's output directory, which must exist.

    Raises:
        UserError: If another process holds the lock.
    """
    try:
        file = (Path(directory) / ".lock").open("a")
        _held.append(file)
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # Any other error comes from a file system without locks, on which the run continues unlocked.
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise UserError(
                f"--output_dir {directory}: in use by another run; wait until it ends, or choose another directory"
            ) from error
