"""Frame counts of the videos of a list, which ``adamae scan`` found by decoding them.

Half a million counts are two flat arrays of 6 MB. A video is identified by the end of its path, its size and its
modification time: a data set that was moved is still recognised, and a video that was replaced is not.
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
from adamae.data.shards.names import expand, is_remote, names_shards
from adamae.errors import UserError
from adamae.files import read_npz
from adamae.lookup import is_folder

COUNTS = ".frames.npz"
GOOD = ".good"
# Stem of the files about a folder or shards, which have no list name.
_NO_LIST = "scan"
_VERSION = 1


@dataclass(frozen=True)
class FrameCounts:
    """Frame counts of many videos.

    Attributes:
        keys: (n,) uint64, ascending; see :func:`video_key`.
        counts: (n,) uint32 number of frames.
        damaged: (n,) uint32 number of skipped packets.
        decoder: Name of the decoding back end: back ends differ on unusual files.
        full: Whether every frame was decoded.
        cut_off_known: Whether files that are cut off were detected; older versions treated them as good.
    """

    keys: np.ndarray
    counts: np.ndarray
    damaged: np.ndarray
    decoder: str
    full: bool
    cut_off_known: bool = True

    @classmethod
    def of(cls, known: Iterable[tuple[int, int, int]], decoder: str, full: bool) -> FrameCounts:
        """Create from the key, frame count and number of damaged packets of each video."""
        keys, *numbers = np.array(sorted(set(known)), np.uint64).reshape(-1, 3).T
        counts, damaged = (column.astype(np.uint32) for column in numbers)
        return cls(keys.copy(), counts, damaged, decoder, full)

    @classmethod
    def load(cls, path: Path) -> FrameCounts | None:
        """Read a file of counts; None if it does not exist.

        Raises:
            UserError: The file is damaged, or not a file of counts.
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
        """Return the contents of a file that :meth:`load` reads."""
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
        """Return the frame count of the video with this key; None if unknown."""
        both = self.find_both(key)
        return None if both is None else both[0]

    def find_both(self, key: int) -> tuple[int, int] | None:
        """Return the numbers of frames and damaged packets of the video with this key; None if unknown."""
        place = int(np.searchsorted(self.keys, np.uint64(key)))
        if place == len(self.keys) or int(self.keys[place]) != key:
            return None
        return int(self.counts[place]), int(self.damaged[place])

    def of_video(self, source: VideoSource) -> int | None:
        """Return the frame count of a video in its current state; None if it is unknown or missing."""
        return self.find(video_key(source))


def video_key(source: VideoSource) -> int:
    """Return a 64-bit hash of the last two parts of a video's path, its size and its modification time.

    For a folder of frames, the hash includes the number of frames in the list.
    """
    if isinstance(source, EncodedVideo):
        return file_key(source.name, len(source.data), 0)
    try:
        found = os.stat(source)  # noqa: PTH116 (speed)
    except OSError:
        return file_key(source, -1, -1)
    frames = source.num_frames if isinstance(source, FrameFolder) and stat.S_ISDIR(found.st_mode) else None
    return file_key(source, found.st_size, found.st_mtime_ns, frames)


def file_key(path: str, size: int, changed: int, frames: int | None = None) -> int:
    """Compute :func:`video_key` from its parts.

    Args:
        path: Path of the video.
        size: Size in bytes.
        changed: Modification time in nanoseconds.
        frames: Number of frames in the list, of a folder of frames.
    """
    end = "/".join(os.path.abspath(path).rsplit(os.sep, 2)[-2:])  # noqa: PTH100 (speed)
    text = f"{end}\n{size}\n{changed}" + ("" if frames is None else f"\n{frames}")
    return int.from_bytes(hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=8).digest(), "little")


def stem_of(source: str | Path) -> Path | None:
    """Return the path to which the suffixes of files about a list, a folder or shards are appended.

    None for remote shards, beside which nothing can be written.
    """
    if names_shards(source):
        first = expand(source)[0]
        return None if is_remote(first) else Path(first).parent / _NO_LIST
    place = Path(source)
    return place / _NO_LIST if is_folder(place) else place.with_name(place.stem)


def result_place(source: str | Path, out: str | Path | None) -> Path:
    """Return the path to which a scan appends the suffixes of its files.

    Args:
        source: The list, folder or shards.
        out: Folder of the files; None for that of the source.

    Raises:
        UserError: The shards are remote, and there is no folder.
    """
    stem = stem_of(source)
    if out is None:
        if stem is None:
            raise UserError(f"{source}: results cannot be written beside remote shards; expected -o FOLDER")
        return stem
    return Path(out) / (_NO_LIST if stem is None else stem.name)


def counts_of_list(source: str | Path, decoder: str, folder: str | Path | None = None) -> FrameCounts | None:
    """Load the counts of a list for this decoder, or those of the list from which a list of good videos was made.

    Args:
        source: The list, folder or shards.
        decoder: Name of the back end.
        folder: Folder of the counts, if they are not beside the list.

    Raises:
        UserError: The counts are damaged.
    """
    stem = stem_of(source) or (None if folder is None else Path(folder) / _NO_LIST)
    if stem is None:
        return None
    for name in (stem.name, stem.name.removesuffix(GOOD)):
        counts = FrameCounts.load((stem.parent if folder is None else Path(folder)) / f"{name}{COUNTS}")
        if counts is not None and counts.decoder == decoder:
            return counts
    return None
