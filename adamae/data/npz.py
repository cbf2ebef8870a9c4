"""Reading .npz files that others may have damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np


class DamagedNpzError(ValueError):
    """The file is no .npz file, or not whole."""


def read_npz(path: str | Path) -> dict[str, np.ndarray]:
    """All arrays of a file, by name.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedNpzError: It cannot be read, whatever the reason.
    """
    try:
        with np.load(path) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise
    # Of damaged bytes, zipfile and numpy raise whatever comes: a wrong version is a NotImplementedError, a flag that
    # says the file is encrypted a RuntimeError.
    except Exception as error:
        raise DamagedNpzError(str(error) or type(error).__name__) from None
