"""Many short strings in two flat arrays, which processes share without copying: half a million paths in 30 MB."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PackedText:
    """A sequence of n strings.

    Attributes:
        data: All strings concatenated, in the file system's encoding.
        ends: (n,) int64 end of each string in ``data``.
    """

    data: bytes
    ends: np.ndarray

    @classmethod
    def of(cls, texts: Iterable[str]) -> PackedText:
        """Pack some strings."""
        encoded = [os.fsencode(text) for text in texts]
        return cls(b"".join(encoded), np.cumsum([len(text) for text in encoded], dtype=np.int64))

    @classmethod
    def joined(cls, parts: Sequence[PackedText]) -> PackedText:
        """Concatenate several sequences."""
        starts = np.cumsum([0, *(len(part.data) for part in parts)])
        ends = [part.ends + start for part, start in zip(parts, starts[:-1], strict=True)]
        return cls(b"".join(part.data for part in parts), np.concatenate(ends) if ends else np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, row: int) -> str:
        return os.fsdecode(self._raw(row))

    def __iter__(self) -> Iterator[str]:
        return (self[row] for row in range(len(self)))

    def take(self, rows: Sequence[int] | np.ndarray) -> PackedText:
        """Return some of the strings, in the order of ``rows``."""
        chosen = [self._raw(int(row)) for row in rows]
        return PackedText(b"".join(chosen), np.cumsum([len(text) for text in chosen], dtype=np.int64))

    def _raw(self, row: int) -> bytes:
        return self.data[int(self.ends[row - 1]) if row else 0 : int(self.ends[row])]
