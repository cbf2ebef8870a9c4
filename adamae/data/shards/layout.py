"""Assignment of videos to shards, computed before anything is written.

The layout depends only on the list, the sizes of the files and the options, so that a resumed call can distinguish
complete shards from missing ones.
"""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from adamae.data.annotations import Annotations
from adamae.data.list_rows import UNLABELLED
from adamae.data.shards.headers import BLOCK, ORIGINAL_NAME
from adamae.randomness import epoch_permutation

_SUFFIX = ".mp4"
Size = TypeVar("Size", int, np.ndarray)


@dataclass(frozen=True)
class Layout:
    """Positions of n videos in S shards, in the order of the shards.

    Attributes:
        rows: (n,) int64 row of each video in the list.
        sizes: (n,) int64 size of each video in bytes.
        shard: (n,) int32 index of the shard of each video.
        tar_sizes: (S,) int64 size of each shard in bytes.
    """

    rows: np.ndarray
    sizes: np.ndarray
    shard: np.ndarray
    tar_sizes: np.ndarray

    def places(self, shard: int) -> range:
        """Return the positions of the videos of a shard among the n videos."""
        first, last = np.searchsorted(self.shard, [shard, shard + 1])
        return range(int(first), int(last))


def order_of(num_rows: int, *, shuffle: bool, seed: int) -> np.ndarray:
    """Return (n,) int64, the order in which rows are packed; shuffled, so that every shard mixes the classes."""
    return epoch_permutation(seed, 0, num_rows) if shuffle else np.arange(num_rows)


def lay_out(
    videos: Annotations,
    rows: np.ndarray,
    sizes: np.ndarray,
    *,
    shard_bytes: int,
    videos_per_shard: int | None = None,
) -> Layout:
    """Assign every video to a shard.

    Args:
        videos: The list.
        rows: (n,) rows of the list to pack, in order.
        sizes: (n,) int64 size of each file in bytes.
        shard_bytes: Size limit: a shard ends before the video that would exceed it.
        videos_per_shard: Number of videos in a shard, which replaces ``shard_bytes``.
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
    """Return suffix and content of the members beside a video: its label and its name."""
    label = int(videos.labels[row])
    about: dict[str, str | int] = {ORIGINAL_NAME: videos.name(row)}
    if label == UNLABELLED:
        return [(".json", json.dumps(about).encode())]
    about["label"] = label
    if videos.classes is not None:
        about["class"] = videos.classes[label]
    return [(".cls", str(label).encode()), (".json", json.dumps(about).encode())]


def video_suffix(name: str) -> str:
    """Return the suffix of a video's member."""
    return Path(name).suffix.lower() or _SUFFIX


def header(key: str, suffix: str, size: int) -> tarfile.TarInfo:
    """Return the header of a member, without user, group and modification time."""
    member = tarfile.TarInfo(key + suffix)
    member.size = size
    return member


def key_of(place: int) -> str:
    """Return the name that all members of a sample share."""
    return f"{place:09d}"


def shard_name(number: int) -> str:
    """Return the file name of a shard."""
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
    """Return the size of a member with its header in bytes."""
    return BLOCK + _rounded(size, BLOCK)


def _rounded(size: Size, unit: int) -> Size:
    return -(-size // unit) * unit
