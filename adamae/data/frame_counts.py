"""How many frames the videos of a list have, as ``adamae scan`` found by decoding them.

Half a million counts are two flat arrays of 6 MB. A video is known by the end of its path, its size and the time of its
last change: a data set that moved is still known, and a video that was replaced no longer is.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adamae.data.decoding import EncodedVideo, FrameFolder, VideoSource
from adamae.data.shards.names import expand, names_shards
from adamae.errors import UserError
from adamae.files import read_npz
from adamae.lookup import is_folder

COUNTS = ".frames.npz"
GOOD = ".good"
# What the files about a folder or shards, which are no list, are called.
_NO_LIST = "scan"
_VERSION = 1


@dataclass(frozen=True)
class FrameCounts:
    """Counts of many videos.

    Attributes:
        keys: (n,) uint64, rising; see :func:`video_key`.
        counts: (n,) uint32.
        damaged: (n,) uint32 packets that were passed over.
        decoder: Name of the back end that decoded: on odd files they differ.
        full: Every frame was decoded.
        cut_off_known: Files that are cut off were looked for; older versions took them for good ones.
    """

    keys: np.ndarray
    counts: np.ndarray
    damaged: np.ndarray
    decoder: str
    full: bool
    cut_off_known: bool = True

    @classmethod
    def of(cls, known: Iterable[tuple[int, int, int]], decoder: str, full: bool) -> FrameCounts:
        """From a video's key, its count and its damaged packets, of each."""
        keys, *numbers = np.array(sorted(set(known)), np.uint64).reshape(-1, 3).T
        counts, damaged = (column.astype(np.uint32) for column in numbers)
        return cls(keys.copy(), counts, damaged, decoder, full)

    @classmethod
    def load(cls, path: Path) -> FrameCounts | None:
        """Read a file of counts; None where there is none.

        Raises:
            UserError: It is damaged, or no such file.
        """
        try:
            file = read_npz(path)
            if int(file["version"]) != _VERSION:
                raise ValueError(f"version {int(file['version'])}")
            damaged = file.get("damaged", np.zeros_like(file["counts"]))
            facts = str(file["decoder"]), bool(file["full"]), "cut_off_known" in file
            return cls(file["keys"], file["counts"], damaged, *facts)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path}: not a frame count file of adamae scan ({error}); delete it, or repeat the scan"
            ) from None

    def packed(self) -> bytes:
        """The contents of a file that :meth:`load` reads."""
        file = io.BytesIO()
        facts: dict[str, Any] = {"version": _VERSION, "decoder": self.decoder, "full": self.full}
        if self.cut_off_known:
            facts["cut_off_known"] = True
        if self.damaged.any():
            facts["damaged"] = self.damaged
        np.savez(file, keys=self.keys, counts=self.counts, **facts)
        return file.getvalue()

    def __len__(self) -> int:
        return len(self.keys)

    def find(self, key: int) -> int | None:
        """The count of the video with this key."""
        both = self.find_both(key)
        return None if both is None else both[0]

    def find_both(self, key: int) -> tuple[int, int] | None:
        """The count and the damaged packets of the video with this key."""
        place = int(np.searchsorted(self.keys, np.uint64(key)))
        if place == len(self.keys) or int(self.keys[place]) != key:
            return None
        return int(self.counts[place]), int(self.damaged[place])

    def of_video(self, source: VideoSource) -> int | None:
        """The count of a video as it lies there now; None where it is not known or gone."""
        return self.find(video_key(source))


def video_key(source: VideoSource) -> int:
    """64 bits of a hash of the last two parts of a video's path, its size and when it was changed last.

    Of a folder of pictures also of how many the list counts.
    """
    if isinstance(source, EncodedVideo):
        return file_key(source.name, len(source.data), 0)
    try:
        found = os.stat(source)  # noqa: PTH116 (speed)
    except OSError:
        return file_key(source, -1, -1)
    counted = f"/{source.num_frames}" if isinstance(source, FrameFolder) and stat.S_ISDIR(found.st_mode) else ""
    return file_key(source + counted, found.st_size, found.st_mtime_ns)


def file_key(path: str, size: int, changed: int) -> int:
    """:func:`video_key` from what it is made of; ``changed`` in nanoseconds."""
    end = "/".join(os.path.abspath(path).rsplit(os.sep, 2)[-2:])  # noqa: PTH100 (speed)
    text = f"{end}\n{size}\n{changed}"
    return int.from_bytes(hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=8).digest(), "little")


def stem_of(source: str | Path) -> Path:
    """What the files about a list, a folder or shards begin with."""
    if names_shards(source):
        return Path(expand(source)[0]).parent / _NO_LIST
    place = Path(source)
    return place / _NO_LIST if is_folder(place) else place.with_name(place.stem)


def counts_of_list(source: str | Path, decoder: str, folder: str | Path | None = None) -> FrameCounts | None:
    """The counts that were made with this decoder for a list, or for the list whose good videos it is.

    Args:
        source: The list, folder or shards.
        decoder: Name of the back end.
        folder: Where they lie, if not beside the list.

    Raises:
        UserError: They are damaged.
    """
    stem = stem_of(source)
    for name in (stem.name, stem.name.removesuffix(GOOD)):
        counts = FrameCounts.load((stem.parent if folder is None else Path(folder)) / f"{name}{COUNTS}")
        if counts is not None and counts.decoder == decoder:
            return counts
    return None
