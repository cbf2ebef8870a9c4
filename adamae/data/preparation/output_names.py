"""Where a re-encoded video goes: below the folder of results as its source lies below its own, in plain letters."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable

from adamae.files import LONGEST_NAME, cut_name

FOLDER = "videos"
_SUFFIX = ".mp4"
# Of a source, where its name alone does not do.
_DIGEST_LENGTH = 9
# What would have to be quoted in a list, or could not stand there at all.
_AWKWARD = re.compile(r"[\s,\"'\\\x00-\x1f\x7f-\x9f]+")


class OutputNames:
    """Names of results, one for each source, the same on every machine.

    Args:
        sources: All sources, paths below the source folder or absolute ones.
    """

    def __init__(self, sources: Iterable[str]) -> None:
        seen: set[str] = set()
        self._clashing: set[str] = set()
        for source in sources:
            # File systems may not tell capital letters from small ones.
            name = _plain(source).lower()
            (self._clashing if name in seen else seen).add(name)

    def __getitem__(self, source: str) -> str:
        """Path of a source's result below the folder of results."""
        name = _plain(source)
        clashes = name.lower() in self._clashing
        folder, slash, stem = name.rpartition("/")
        if clashes or len(os.fsencode(stem)) > LONGEST_NAME - len(_SUFFIX):
            digest = f"-{hashlib.sha256(os.fsencode(source)).hexdigest()}"[:_DIGEST_LENGTH]
            stem = cut_name(stem, LONGEST_NAME - len(_SUFFIX) - _DIGEST_LENGTH) + digest
        return f"{FOLDER}/{folder}{slash}{stem}{_SUFFIX}"


def _plain(source: str) -> str:
    return _AWKWARD.sub("_", os.path.splitext(source.lstrip("/"))[0])  # noqa: PTH122 (speed)
