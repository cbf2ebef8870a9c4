"""What lies at a path that a person named.

``pathlib`` ends with a traceback where a path may not be looked up, or says that nothing is there, by the version of
Python; a list that is taken for missing could be replaced by what lies around it.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from adamae.errors import UserError

# Nothing can be there: a link to itself, and names that are none.
_NOTHING = (errno.ENOENT, errno.ENOTDIR, errno.EBADF, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL)


def exists(path: str | Path) -> bool:
    """Whether there is something.

    Raises:
        UserError: It cannot be looked up, as in a folder that may not be entered.
    """
    return _mode(path) != 0


def is_folder(path: str | Path) -> bool:
    """Whether there is a folder, or a link to one.

    Raises:
        UserError: As :func:`exists`.
    """
    return stat.S_ISDIR(_mode(path))


def is_file(path: str | Path) -> bool:
    """Whether there is a file, or a link to one.

    Raises:
        UserError: As :func:`exists`.
    """
    return stat.S_ISREG(_mode(path))


def _mode(path: str | Path) -> int:
    """The kind of what is there; 0 for nothing."""
    try:
        return os.stat(path).st_mode  # noqa: PTH116 (texts as well)
    except ValueError:  # a zero byte in the name
        return 0
    except OSError as error:
        if error.errno in _NOTHING:
            return 0
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
