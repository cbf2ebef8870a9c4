"""Read files of ``torch.save`` without executing code from them."""

from __future__ import annotations

import argparse
import io
import itertools
import pickletools
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adamae.errors import UserError
from adamae.plain_text import first_line

# Names that are not the reason why a file is refused.
_HARMLESS = re.compile(r"(torch|collections|numpy)\..*|argparse\.Namespace|_codecs\.encode")
_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
# How much of a rejected file is searched for names. The pickles of torch.save are at its beginning and smaller; a cut
# archive is as large as the weights.
_SEARCHED_BYTES = 64 * 2**20
_SEARCHED_OPERATIONS = 500_000
# The rejected global in torch's error message.
_REFUSED = re.compile(r"GLOBAL ([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)")


def read_pickled(path: Path) -> Any:
    """Load a file of ``torch.save`` on the CPU.

    Supported are tensors, numbers, text, containers, ``argparse.Namespace`` and numpy scalars. No other object is built
    and no function of the file is called.

    Raises:
        UserError: If the file is damaged, is not a file of ``torch.save``, or unpickling it would execute code.
    """
    zipped = zipfile.is_zipfile(path)
    if zipped:
        _check_archive(path)
    try:
        with torch.serialization.safe_globals(_admitted()), warnings.catch_warnings():
            # torch warns about pickle protocols that it then rejects.
            warnings.simplefilter("ignore")
            # Memory-mapped, so that unused tensors (an optimiser's state) are never loaded.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except Exception as error:
        # A damaged file can raise any exception; all become a one-line error.
        strangers = {*_strangers(path, zipped), *_REFUSED.findall(str(error))}
        if strangers:
            raise UserError(
                f"{path}: refused, unpickling would execute code: it references {', '.join(sorted(strangers)[:5])}; "
                "expected tensors, numbers, text and an argparse.Namespace"
            ) from error
        raise UserError(f"{path}: damaged, or not a file of torch.save") from error


def _admitted() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """Return the globals in published files beyond torch's safe ones: option namespaces and numpy scalars."""
    scalar = np.float64(0).__reduce__()[0]
    assert callable(scalar)
    dtypes = {type(np.dtype(kind)) for kind in "?bBhHiIlLqQefd"}
    # numpy 2 moved the function; files refer to it by the name of the version that wrote them.
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
    return [argparse.Namespace, np.dtype, *dtypes, *((scalar, name) for name in names)]


def _check_archive(path: Path) -> None:
    """Verify the archive's checksums, which torch does not check.

    Raises:
        UserError: If a record does not match its checksum.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
            if any(record.compress_type != zipfile.ZIP_STORED for record in records):
                raise UserError(f"{path}: damaged, or not a file of torch.save: it has compressed records")
            # torch can be configured to skip checksums; it then writes 0 for all of them.
            if any(record.CRC for record in records):
                damaged = archive.testzip()
                if damaged:
                    raise UserError(f"{path}: damaged: {damaged} differs from its checksum")
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path}: damaged archive ({first_line(error)})") from error


def _strangers(path: Path, zipped: bool) -> list[str]:
    """Return the functions and classes that the file references and a checkpoint does not need."""
    try:
        if zipped:
            with torch.serialization.safe_globals(_admitted()):
                names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        else:
            with path.open("rb") as file:
                names = _names_in(file.read(_SEARCHED_BYTES))
    except Exception:
        # The file is too damaged to be parsed.
        return []
    return [name for name in names if _NAME.fullmatch(name) and not _HARMLESS.fullmatch(name)]


def _names_in(pickles: bytes) -> list[str]:
    """Return every "module.name" in concatenated pickles without executing them."""
    names: list[str] = []
    found: list[str] = []
    texts: list[str] = []
    file = io.BytesIO(pickles)
    # Each call reads one pickle and leaves the file behind its end.
    operations = itertools.chain.from_iterable(pickletools.genops(file) for _ in itertools.repeat(None))
    try:
        for operation, argument, _ in itertools.islice(operations, _SEARCHED_OPERATIONS):
            if operation.name in ("GLOBAL", "INST"):
                found.append(str(argument).replace(" ", "."))
            elif operation.name == "STACK_GLOBAL":
                found.append(".".join(texts[-2:]))
            elif isinstance(argument, str):
                texts.append(argument)
            elif operation.name == "STOP":
                names += found
                found, texts = [], []
    except Exception:
        # The rest is not a pickle, or its end is not in these bytes: drop the names found in it.
        return names
    return names
