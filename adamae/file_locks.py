"""Locks of files between the processes of a machine, or of a cluster where the file system has them."""

from __future__ import annotations

import errno
from typing import IO, Any

# Errors of file systems without locks.
_NO_LOCKS = (errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


def lock(file: IO[Any], *, shared: bool = False, wait: bool = False) -> bool:
    """Lock an open file until it is closed.

    Args:
        file: The file; NFS locks it only for others' reading (``shared``) unless it is open for writing.
        shared: Whether others may have such a lock, too.
        wait: Wait for others that have it locked.

    Returns:
        False if another has it locked; True otherwise, also on Windows and on a file system without locks.

    Raises:
        OSError: If the file system fails in another way.
    """
    try:
        import fcntl
    except ImportError:
        return True
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(file, kind if wait else kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True
