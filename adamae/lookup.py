"""File type checks for paths given by the user.

If a path may not be accessed, ``pathlib`` raises an exception or reports that nothing exists, depending on the version
of Python. A list that is wrongly reported as missing could be replaced by files near it.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from adamae.errors import UserError

# Errors that mean that nothing exists, including links to themselves and invalid names.
_NOTHING = (errno.ENOENT, errno.ENOTDIR, errno.EBADF, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL)


def exists(path: str | Path) -> bool:
    """Return whether the path exists.

    Raises:
        UserError: If the path cannot be accessed, for example because of the permissions of a folder.
    """
    return _mode(path) != 0


def is_folder(path: str | Path) -> bool:
    """Return whether the path is a folder, or a link to one.

    Raises:
        UserError: As for :func:`exists`.
    """
    return stat.S_ISDIR(_mode(path))


def is_file(path: str | Path) -> bool:
    """Return whether the path is a regular file, or a link to one.

    Raises:
        UserError: As for :func:`exists`.
    """
    return stat.S_ISREG(_mode(path))


def _mode(path: str | Path) -> int:
    """Return the mode of the path; 0 if nothing exists."""
    try:
        return os.stat(path).st_mode  # noqa: PTH116 (texts as well)
    except ValueError:  # a zero byte in the name
        return 0
    except OSError as error:
        if error.errno in _NOTHING:
            return 0
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
