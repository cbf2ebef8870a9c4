"""Files of ``torch.save``, read without running anything that they hold."""

from __future__ import annotations

import argparse
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

# What a refused file may name without being the reason of the refusal.
_HARMLESS = re.compile(r"(torch|collections|numpy)\..*|argparse\.Namespace|_codecs\.encode")
_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
# How torch words a refusal.
_REFUSED = re.compile(r"GLOBAL ([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)")


def read_pickled(path: Path) -> Any:
    """What ``torch.save`` wrote, on the CPU.

    Tensors, numbers, text, containers, and as data an ``argparse.Namespace`` and numpy's scalars. Nothing else is
    built, and nothing is called.

    Raises:
        UserError: If the file is damaged, is no such file, or would run code where it were unpickled.
    """
    zipped = zipfile.is_zipfile(path)
    if zipped:
        _check_archive(path)
    try:
        with torch.serialization.safe_globals(_admitted()), warnings.catch_warnings():
            # torch warns of pickle protocols that it then refuses.
            warnings.simplefilter("ignore")
            # Mapped, what nobody asks for (an optimiser's state) is never held in memory.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except Exception as error:
        # Whatever a damaged file makes of the reader, the person wants one line.
        strangers = {*_strangers(path, zipped), *_REFUSED.findall(str(error))}
        if strangers:
            raise UserError(
                f"{path}: refused, unpickling would execute code: it references {', '.join(sorted(strangers)[:5])}; "
                "expected tensors, numbers, text and an argparse.Namespace"
            ) from error
        raise UserError(f"{path}: damaged, or not a file of torch.save") from error


def _admitted() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """What published files hold beside what torch admits by itself: options, and numpy's scalars."""
    scalar = np.float64(0).__reduce__()[0]
    assert callable(scalar)
    dtypes = {type(np.dtype(kind)) for kind in "?bBhHiIlLqQefd"}
    # numpy 2 has moved the function; files name the place of their time.
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
    return [argparse.Namespace, np.dtype, *dtypes, *((scalar, name) for name in names)]


def _check_archive(path: Path) -> None:
    """Compare every byte with the archive's checksums, which torch itself passes over.

    Raises:
        UserError: If one differs.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
            if any(record.compress_type != zipfile.ZIP_STORED for record in records):
                raise UserError(f"{path}: damaged, or not a file of torch.save: it has compressed records")
            # torch can be told to write none, and then writes 0 everywhere.
            if any(record.CRC for record in records):
                damaged = archive.testzip()
                if damaged:
                    raise UserError(f"{path}: damaged: {damaged} differs from its checksum")
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path}: damaged archive ({_first_line(error)})") from error


def _strangers(path: Path, zipped: bool) -> list[str]:
    """Names of functions and classes that the file wants and that are nothing a checkpoint needs."""
    try:
        if zipped:
            with torch.serialization.safe_globals(_admitted()):
                names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        else:
            names = _names_in(path.read_bytes())
    except Exception:
        # Too damaged to tell.
        return []
    return [name for name in names if _NAME.fullmatch(name) and not _HARMLESS.fullmatch(name)]


def _names_in(pickles: bytes) -> list[str]:
    """Every "module.name" in pickles that lie one behind another, read without running them."""
    names: list[str] = []
    start = 0
    while start < len(pickles):
        found: list[str] = []
        texts: list[str] = []
        try:
            for operation, argument, position in pickletools.genops(pickles[start:]):
                end = start + (position or 0) + 1
                if operation.name in ("GLOBAL", "INST"):
                    found.append(str(argument).replace(" ", "."))
                elif operation.name == "STACK_GLOBAL":
                    found.append(".".join(texts[-2:]))
                elif isinstance(argument, str):
                    texts.append(argument)
        except Exception:
            # No pickle from here on, but other bytes that happened to look like one.
            break
        names += found
        start = end
    return names


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
