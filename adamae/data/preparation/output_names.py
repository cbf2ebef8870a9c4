"""Paths of re-encoded videos: those of their sources, without characters that need quoting."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable

from adamae.files import LONGEST_NAME, cut_name

FOLDER = "videos"
_SUFFIX = ".mp4"
# Length of the suffix from the source's hash, for names that clash or are too long.
_DIGEST_LENGTH = 9
# Characters that must be quoted in a list, or that a list cannot contain.
_AWKWARD = re.compile(r"[\s,\"'\\\x00-\x1f\x7f-\x9f]+")


class OutputNames:
    """Unique names of the results by source, the same on every machine.

    Args:
        sources: All sources, as absolute paths or paths below the source folder.
    """

    def __init__(self, sources: Iterable[str]) -> None:
        seen: set[str] = set()
        self._clashing: set[str] = set()
        for source in sources:
            # File systems may be case-insensitive.
            name = _plain(source).lower()
            (self._clashing if name in seen else seen).add(name)

    def __getitem__(self, source: str) -> str:
        """Return the path of a source's result below the output folder."""
        name = _plain(source)
        clashes = name.lower() in self._clashing
        folder, slash, stem = name.rpartition("/")
        if clashes or len(os.fsencode(stem)) > LONGEST_NAME - len(_SUFFIX):
            digest = f"-{hashlib.sha256(os.fsencode(source)).hexdigest()}"[:_DIGEST_LENGTH]
            stem = cut_name(stem, LONGEST_NAME - len(_SUFFIX) - _DIGEST_LENGTH) + digest
        return f"{FOLDER}/{folder}{slash}{stem}{_SUFFIX}"


def _plain(source: str) -> str:
    return _AWKWARD.sub("_", os.path.splitext(source.lstrip("/"))[0])  # noqa: PTH122 (speed)
