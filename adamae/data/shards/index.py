"""Index of a set of shards: the position of every video, for random access."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from adamae.data.list_rows import UNLABELLED, is_number
from adamae.data.packed_text import PackedText
from adamae.data.shards.headers import ShardContent
from adamae.errors import UserError
from adamae.files import read_npz

_VERSION = 1


@dataclass(frozen=True)
class ShardIndex:
    """Index of S shards with n videos in total, shard after shard.

    Attributes:
        shards: (S,) names of the tar files, without folders; absolute paths in a cached index.
        tar_sizes: (S,) int64 size of each tar in bytes.
        tar_times: (S,) int64 modification time of each tar in nanoseconds; 0 if it is not compared.
        shard: (n,) int32 index of the shard of each video.
        offsets: (n,) int64 offset of each video in its shard, in bytes.
        sizes: (n,) int64 size of each video in bytes.
        labels: (n,) int64; -1 for none.
        names: Name of each video.
        classes: Names of the classes, label 0 first, if they are known.
    """

    shards: tuple[str, ...]
    tar_sizes: np.ndarray
    tar_times: np.ndarray
    shard: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    labels: np.ndarray
    names: PackedText
    classes: tuple[str, ...] | None

    def as_bytes(self) -> bytes:
        """Return the content of an index file; equal indices have equal bytes."""
        arrays = {
            "version": np.array(_VERSION),
            "tar_sizes": self.tar_sizes,
            "tar_times": self.tar_times,
            "shard": self.shard,
            "offsets": self.offsets,
            "sizes": self.sizes,
            "labels": self.labels,
            **_text_arrays("shards", PackedText.of(self.shards)),
            **_text_arrays("names", self.names),
        }
        if self.classes is not None:
            arrays |= _text_arrays("classes", PackedText.of(self.classes))
        packed = io.BytesIO()
        np.savez(packed, **arrays)  # type: ignore[arg-type]
        return packed.getvalue()

    @classmethod
    def load(cls, path: Path) -> ShardIndex | None:
        """Load a file with the content of :meth:`as_bytes`; None if it is missing or not a valid index."""
        try:
            file = read_npz(path)
            if int(file["version"]) != _VERSION:
                return None
            index = cls(
                shards=tuple(_texts(file, "shards")),
                tar_sizes=file["tar_sizes"],
                tar_times=file["tar_times"],
                shard=file["shard"],
                offsets=file["offsets"],
                sizes=file["sizes"],
                labels=file["labels"],
                names=_texts(file, "names"),
                classes=tuple(_texts(file, "classes")) if "classes_ends" in file else None,
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return index if index._is_sound() else None

    def part(self, shards: Sequence[str], sizes: np.ndarray, times: np.ndarray) -> ShardIndex | None:
        """Return the index of some of the shards, in the given order; None if it does not match their current state.

        Args:
            shards: (S',) names as in the attribute ``shards``.
            sizes: (S',) int64 size of each tar in bytes; -1 if unknown.
            times: (S',) int64 modification time of each tar in nanoseconds.
        """
        number = {name: place for place, name in enumerate(self.shards)}
        if len(number) < len(self.shards) or any(name not in number for name in shards):
            return None
        places = np.array([number[name] for name in shards])
        if ((sizes >= 0) & (sizes != self.tar_sizes[places])).any():
            return None
        known_times = self.tar_times[places]
        if ((known_times > 0) & (known_times != times)).any():
            return None
        if np.array_equal(places, np.arange(len(self.shards))):
            return self
        new = np.full(len(self.shards), -1, np.int32)
        new[places] = np.arange(len(places))
        shard = new[self.shard]
        rows = np.argsort(np.where(shard < 0, len(places), shard), kind="stable")[: int((shard >= 0).sum())]
        return replace(
            self,
            shards=tuple(shards),
            tar_sizes=self.tar_sizes[places],
            tar_times=known_times,
            shard=shard[rows],
            offsets=self.offsets[rows],
            sizes=self.sizes[rows],
            labels=self.labels[rows],
            names=self.names.take(rows),
        )

    def _is_sound(self) -> bool:
        rows = {len(self.shard), len(self.offsets), len(self.sizes), len(self.labels), len(self.names)}
        inside = not len(self.shard) or (self.shard.min() >= 0 and self.shard.max() < len(self.shards))
        return len(rows) == 1 and len(self.shards) == len(self.tar_sizes) == len(self.tar_times) and bool(inside)


def index_of(
    shards: Sequence[str], tar_sizes: np.ndarray, tar_times: np.ndarray, contents: Sequence[ShardContent]
) -> ShardIndex:
    """Create the index of shards whose headers were read.

    Labels are numbers in all shards, or names in all; names are numbered in alphabetical order.

    Args:
        shards: (S,) names of the tar files.
        tar_sizes: (S,) int64 size of each tar in bytes.
        tar_times: (S,) int64 modification time of each tar in nanoseconds.
        contents: Videos of each shard.

    Raises:
        UserError: Some labels are numbers and others names, or a number is below -1.
    """
    labels = [label for content in contents for label in content.labels]
    names = PackedText.joined([content.names for content in contents])
    shard = np.repeat(np.arange(len(contents), dtype=np.int32), [len(content.labels) for content in contents])
    numbers, classes = _number(labels, lambda row: f"{shards[shard[row]]}/{names[row]}")
    return ShardIndex(
        shards=tuple(shards),
        tar_sizes=tar_sizes,
        tar_times=tar_times,
        shard=shard,
        offsets=np.concatenate([content.offsets for content in contents]),
        sizes=np.concatenate([content.sizes for content in contents]),
        labels=numbers,
        names=names,
        classes=classes,
    )


def _number(labels: list[str], where: Callable[[int], str]) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Return (n,) label numbers, and the class names if the labels are names."""
    known = sorted({label for label in labels if label})
    if not known:
        return np.full(len(labels), UNLABELLED, np.int64), None
    numeric = [is_number(label) for label in known]
    if any(numeric) and not all(numeric):
        name, number = known[numeric.index(False)], known[numeric.index(True)]
        raise UserError(
            f"{where(labels.index(name))}: the label is {name!r}, expected a number as elsewhere, such as {number}"
        )
    if not numeric[0]:
        position = {name: number for number, name in enumerate(known)}
        return np.array([position.get(label, UNLABELLED) for label in labels], np.int64), tuple(known)
    numbers = np.array([int(label) if label else UNLABELLED for label in labels], np.int64)
    if numbers.min() < UNLABELLED:
        row = int(numbers.argmin())
        raise UserError(f"{where(row)}: the label is {numbers[row]}, expected 0 or more, or -1 for none")
    return numbers, None


def _text_arrays(name: str, texts: PackedText) -> dict[str, np.ndarray]:
    return {f"{name}_data": np.frombuffer(texts.data, np.uint8), f"{name}_ends": texts.ends}


def _texts(file: Mapping[str, np.ndarray], name: str) -> PackedText:
    return PackedText(file[f"{name}_data"].tobytes(), file[f"{name}_ends"])
