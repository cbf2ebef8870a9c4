"""Which video goes into which shard: worked out before anything is written.

Every byte of the shards follows from the list, the sizes of the files and the options. So what an interrupted call
left can be told from what is missing.
"""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from adamae.data.annotations import UNLABELLED, Annotations
from adamae.data.shards.headers import BLOCK, ORIGINAL_NAME
from adamae.randomness import epoch_permutation

_SUFFIX = ".mp4"
Size = TypeVar("Size", int, np.ndarray)


@dataclass(frozen=True)
class Layout:
    """The places of n videos in S shards, in their order there.

    Attributes:
        rows: (n,) int64 rows of the list.
        sizes: (n,) int64 bytes of each video.
        shard: (n,) int32 in which shard it lies.
        tar_sizes: (S,) int64 bytes of each shard.
    """

    rows: np.ndarray
    sizes: np.ndarray
    shard: np.ndarray
    tar_sizes: np.ndarray

    def places(self, shard: int) -> range:
        """Which of the n videos lie in a shard."""
        first, last = np.searchsorted(self.shard, [shard, shard + 1])
        return range(int(first), int(last))


def order_of(num_rows: int, *, shuffle: bool, seed: int) -> np.ndarray:
    """(n,) int64 the order in which rows are packed: mixed, so that every shard holds a bit of every class."""
    return epoch_permutation(seed, 0, num_rows) if shuffle else np.arange(num_rows)


def lay_out(
    videos: Annotations,
    rows: np.ndarray,
    sizes: np.ndarray,
    *,
    shard_bytes: int,
    videos_per_shard: int | None = None,
) -> Layout:
    """Give every video its place.

    Args:
        videos: The list.
        rows: (n,) those of its rows that are packed, in their order.
        sizes: (n,) int64 bytes of their files.
        shard_bytes: A shard ends before the video that would make it larger.
        videos_per_shard: Or, where it is given, after so many.
    """
    notes = [[len(content) for _, content in notes_of(videos, row)] for row in rows.tolist()]
    stored = _stored(sizes) + np.array([sum(_stored(length) for length in lengths) for lengths in notes], np.int64)
    if videos_per_shard is not None:
        shard = np.arange(len(rows), dtype=np.int32) // videos_per_shard
    else:
        shard = _fill(stored, shard_bytes)
    ends = np.cumsum(stored)
    last = np.flatnonzero(np.diff(shard, append=shard[-1:] + 1))
    before = np.concatenate([[0], ends[last[:-1]]])
    tar_sizes = _rounded(ends[last] - before + 2 * BLOCK, tarfile.RECORDSIZE)
    return Layout(rows, sizes, shard, tar_sizes)


def notes_of(videos: Annotations, row: int) -> list[tuple[str, bytes]]:
    """Suffix and content of the members that lie beside a video: its label, and what it is called."""
    label = int(videos.labels[row])
    about: dict[str, str | int] = {ORIGINAL_NAME: videos.name(row)}
    if label == UNLABELLED:
        return [(".json", json.dumps(about).encode())]
    about["label"] = label
    if videos.classes is not None:
        about["class"] = videos.classes[label]
    return [(".cls", str(label).encode()), (".json", json.dumps(about).encode())]


def video_suffix(name: str) -> str:
    """With what the member of a video ends."""
    return Path(name).suffix.lower() or _SUFFIX


def header(key: str, suffix: str, size: int) -> tarfile.TarInfo:
    """A member that tells nothing of the machine, the person and the hour."""
    member = tarfile.TarInfo(key + suffix)
    member.size = size
    return member


def key_of(place: int) -> str:
    """The name that all members of a sample share."""
    return f"{place:09d}"


def shard_name(number: int) -> str:
    """File name of a shard."""
    return f"{number:06d}.tar"


def _fill(stored: np.ndarray, most: int) -> np.ndarray:
    shard = np.empty(len(stored), np.int32)
    number = filled = 0
    for place, size in enumerate(stored.tolist()):
        if filled and filled + size + 2 * BLOCK > most:
            number, filled = number + 1, 0
        shard[place] = number
        filled += size
    return shard


def _stored(size: Size) -> Size:
    """Bytes of a member with its header."""
    return BLOCK + _rounded(size, BLOCK)


def _rounded(size: Size, unit: int) -> Size:
    return -(-size // unit) * unit
