"""Reads the videos and labels of list files, folders and shards.

A list has one video per line. ``path label`` separated by spaces is the format of VideoMAE; commas and tabs are
supported as well, with or without a header, and the label may be missing. Rows are stored in a few flat arrays, so
that half a million rows use tens of megabytes, shared by all workers.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from adamae.data.decoding import FrameFolder, VideoSource
from adamae.data.decoding.image_names import is_image
from adamae.data.image_files import ImageFiles, check_images, files_below
from adamae.data.list_rows import UNLABELLED, differing_label, is_number, read_rows
from adamae.data.packed_text import PackedText
from adamae.data.shards.archive import OpenShards, ShardMembers
from adamae.data.shards.names import names_shards, shard_folder_of
from adamae.data.shards.opening import find_shards
from adamae.data.threads import ScanProgress
from adamae.errors import UserError
from adamae.lookup import is_file, is_folder
from adamae.randomness import epoch_permutation

SHARD_WINDOW = 16
_UPWARDS = re.compile(r"^(\.{0,2}/)+")


@dataclass(frozen=True)
class Annotations:
    """The rows of a list, or the videos of a folder or of shards.

    Attributes:
        root: Folder that relative paths start from.
        labels: (n,) int64; UNLABELLED for rows without a label.
        classes: Names of the classes, if the source has names.
        source: The list, folder or shards, for messages.
        names: Name of each video: its path below the root, or its name in the list that was packed into shards.
        members: Positions of the videos within shards; None for files.
        frames: (n,) int64 number of frames of each video, if the list has it. Folders of frames must have as many.
    """

    root: str
    labels: np.ndarray
    classes: tuple[str, ...] | None
    source: str
    names: PackedText
    members: ShardMembers | None = None
    frames: np.ndarray | None = None

    @classmethod
    def of(
        cls,
        paths: Sequence[str],
        labels: np.ndarray | None = None,
        *,
        root: str = "",
        classes: Sequence[str] | None = None,
        source: str = "",
        frames: Sequence[int] = (),
    ) -> Annotations:
        """Pack paths, (n,) labels and, if known, n numbers of frames."""
        return cls(
            root=root,
            labels=np.full(len(paths), UNLABELLED, np.int64) if labels is None else labels,
            classes=None if classes is None else tuple(classes),
            source=source,
            names=PackedText.of(paths),
            frames=np.array(frames, np.int64) if frames else None,
        )

    def __len__(self) -> int:
        return len(self.names)

    @property
    def noun(self) -> str:
        """Kind of the first row, taken as the kind of all rows: "image" or "video"."""
        return "image" if len(self) and self.frames is None and is_image(self.names[0]) else "video"

    def path(self, row: int) -> str:
        """Return the path of a row's video; in shards, the shard's name and the video's name."""
        if self.members is not None:
            # A name that leads out of the list's folder would seem to lead out of the shard.
            return f"{self.members.place(row)}/{_UPWARDS.sub('', self.names[row])}"
        return os.path.join(self.root, self.names[row])  # noqa: PTH118 (speed)

    def name(self, row: int) -> str:
        """Return the name of a row's video, which does not depend on the data set's location."""
        return self.names[row] if self.members is not None else os.path.relpath(self.path(row), self.root or ".")

    def video(self, row: int) -> VideoSource:
        """Return the source that a decoder opens.

        Raises:
            DecodeError: The video cannot be read from its shard.
        """
        path = self.path(row)
        if self.members is not None:
            return self.members.read(row, path)
        return path if self.frames is None else FrameFolder(path, int(self.frames[row]))

    def order(self, seed: int, epoch: int, num_rows: int) -> np.ndarray:
        """Return (n,) int64, the order of the rows in an epoch; ``num_rows`` is n."""
        return epoch_permutation(seed, epoch, num_rows) if self.members is None else self.members.order(seed, epoch)

    def select(self, rows: Sequence[int] | np.ndarray) -> Annotations:
        """Return some of the rows, in the given order."""
        chosen = np.asarray(rows, np.int64)
        return replace(
            self,
            labels=self.labels[chosen],
            names=self.names.take(chosen),
            members=None if self.members is None else self.members.take(chosen),
            frames=None if self.frames is None else self.frames[chosen],
        )


def load_annotations(
    source: str | Path,
    *,
    data_root: str | Path | None = None,
    classes: Sequence[str] | None = None,
    split: str = "train",
    shard_window: int = SHARD_WINDOW,
    image_files: ImageFiles = "auto",
    scanning: ScanProgress | None = None,
) -> Annotations:
    """Read a list file, scan a folder, or open shards.

    Args:
        source: A list; a folder with ``<split>.csv``, which is then read; a folder of videos; shards, as in
            :mod:`adamae.data.shards.names`; or a folder with shards in a sub-folder ``<split>``.
        data_root: Folder that a list's relative paths start from, instead of the list's own folder.
        classes: Known class names, which fix the order of labels; without them a list's names are sorted.
        split: Split to read from a folder with several.
        shard_window: Number of shards whose videos are shuffled together in training.
        image_files: Whether image files are images or frames of videos; for clips of a known length see
            :func:`~adamae.data.image_files.image_files_for`.
        scanning: Called while a folder is scanned, with the number of files found so far, and None.

    Raises:
        UserError: The source is missing, empty, malformed or unreadable, none of the first videos exists, or one is an
            image and clips have several frames.
    """
    if names_shards(source):
        return open_shards(source, classes=classes, window=shard_window, image_files=image_files)
    place = Path(source)
    if is_folder(place):
        listed, shards = place / f"{split}.csv", shard_folder_of(place, split)
        if not is_file(listed) and shards is not None:
            return open_shards(shards, classes=classes, window=shard_window, image_files=image_files)
        if not is_file(listed):
            return scan_folder(place, classes=classes, image_files=image_files, scanning=scanning)
        place = listed
    annotations = read_list(place, data_root=data_root, classes=classes, image_files=image_files)
    first = [annotations.path(row) for row in range(min(len(annotations), 20))]
    if not any(os.path.exists(path) for path in first):  # noqa: PTH110 (speed)
        raise UserError(
            f"{place}: none of the first {len(first)} paths exists, for example {first[0]}; "
            "relative paths are taken from the list's folder unless --data_root names another"
        )
    return annotations


def open_shards(
    source: str | Path,
    *,
    classes: Sequence[str] | None = None,
    window: int = SHARD_WINDOW,
    image_files: ImageFiles = "auto",
) -> Annotations:
    """Open the videos of shards.

    Args:
        source: Shards, as in :mod:`adamae.data.shards.names`.
        classes: Known class names, which fix the order of labels.
        window: Number of shards whose videos are shuffled together in training.
        image_files: "frames" raises on images.

    Raises:
        UserError: As for :func:`~adamae.data.shards.opening.find_shards`; or a label is not among the classes, or a
            video is an image and clips have several frames.
    """
    found = find_shards(source)
    index = found.index
    check_images(index.names, image_files)
    members = ShardMembers(OpenShards(found.paths), found.names, index.shard, index.offsets, index.sizes, window)
    videos = Annotations("", index.labels, index.classes, str(source), index.names, members)
    known, highest = index.classes or classes, int(videos.labels.argmax())
    if known is not None and videos.labels[highest] >= len(known):
        raise UserError(
            f"{videos.path(highest)}: the label is {videos.labels[highest]}, expected less than {len(known)}"
        )
    if classes is None or videos.classes is None or tuple(classes) == videos.classes:
        return videos if classes is None else replace(videos, classes=tuple(classes))
    position = {name: number for number, name in enumerate(classes)}
    number = np.array([position.get(name, len(classes)) for name in videos.classes] + [UNLABELLED])
    labels = number[videos.labels]
    if labels.max() == len(classes):
        row = int(labels.argmax())
        name = videos.classes[int(videos.labels[row])]
        raise UserError(f"{videos.path(row)}: the class {name!r} is not among the {len(classes)} known ones")
    return replace(videos, labels=labels, classes=tuple(classes))


def scan_folder(
    folder: str | Path,
    *,
    classes: Sequence[str] | None = None,
    image_files: ImageFiles = "auto",
    scanning: ScanProgress | None = None,
) -> Annotations:
    """Find all videos and images in a folder and below, sorted; see :func:`~adamae.data.image_files.files_below`.

    If every video is in a sub-folder, the first sub-folder's name is its class; otherwise there are no labels.

    Args:
        folder: Folder to scan; see :func:`~adamae.data.walking.walk` for the files that are included.
        classes: Known class names, which fix the order of labels.
        image_files: Whether image files are images or frames of videos.
        scanning: Called with the number of files found so far, and None.

    Raises:
        UserError: The folder does not exist, cannot be read, or contains no video.
    """
    root = Path(folder)
    if not is_folder(root):
        raise UserError(f"{root}: no such folder")
    found = files_below(root, image_files, scanning)
    if not all(os.sep in path for path in found):
        return Annotations.of(found, root=str(root), source=str(root))
    names = [path.partition(os.sep)[0] for path in found]
    labels, known = _number(names, classes, [str(root / path) for path in found])
    return Annotations.of(found, labels, root=str(root), classes=known, source=str(root))


def read_list(
    path: str | Path,
    *,
    data_root: str | Path | None = None,
    classes: Sequence[str] | None = None,
    image_files: ImageFiles = "auto",
) -> Annotations:
    """Read a list file.

    Args:
        path: List with one video per line.
        data_root: Folder that relative paths start from, by default the list's folder.
        classes: Known class names, which fix the order of labels.
        image_files: "frames" raises on images.

    Raises:
        UserError: The list is missing or empty, a line is malformed (named by file and line), or a video is an image
            and clips have several frames.
    """
    place = Path(path)
    root = str(place.parent if data_root is None else data_root)
    paths: list[str] = []
    labels: list[str] = []
    lines: list[int] = []
    frames: list[int] = []
    suffix: str | None = None
    for line, _, video, label, count in read_rows(place):
        if "." not in video[video.rfind("/") + 1 :]:
            # Decided by the first such row, since checking half a million paths takes too long.
            if suffix is None:
                suffix = "" if count or os.path.isdir(os.path.join(root, video)) else ".mp4"  # noqa: PTH112, PTH118
            video += suffix
        paths.append(video)
        lines.append(line)
        if label is not None:
            labels.append(label)
        if count is not None:
            frames.append(count)
    if not paths:
        raise UserError(f"{place}: the list is empty, expected one video or image per line")
    check_images(paths, image_files)
    if not labels:
        return Annotations.of(paths, root=root, source=str(place), frames=frames)
    numbers, known = _labels(labels, classes, place, lines)
    return Annotations.of(paths, numbers, root=root, classes=known, source=str(place), frames=frames)


def _labels(
    labels: list[str], classes: Sequence[str] | None, place: Path, lines: list[int]
) -> tuple[np.ndarray, Sequence[str] | None]:
    """Return (n,) label numbers, and the class names if known."""
    numbers = None
    if is_number(labels[0]):
        with suppress(ValueError, OverflowError):
            numbers = np.array(labels).astype(np.int64)
    if numbers is None:
        differing = differing_label(labels)
        if differing is not None:
            row, reason = differing
            raise UserError(f"{place}:{lines[row]}: {reason}")
        return _number(labels, classes, [f"{place}:{line}" for line in lines] if classes is not None else [])
    if numbers.min() < UNLABELLED:
        wrong = int(numbers.argmin())
        raise UserError(f"{place}:{lines[wrong]}: the label is {numbers[wrong]}, expected 0 or more, or -1 for none")
    if classes is not None and numbers.max() >= len(classes):
        wrong = int(numbers.argmax())
        raise UserError(f"{place}:{lines[wrong]}: the label is {numbers[wrong]}, expected less than {len(classes)}")
    return numbers, classes


def _number(names: list[str], classes: Sequence[str] | None, places: Sequence[str]) -> tuple[np.ndarray, Sequence[str]]:
    """Return (n,) positions of names in ``classes``, by default in their own sorted order, and the class names."""
    known = sorted(set(names)) if classes is None else classes
    position = {name: number for number, name in enumerate(known)}
    unknown = next((row for row, name in enumerate(names) if name not in position), None)
    if unknown is not None:
        raise UserError(f"{places[unknown]}: the class {names[unknown]!r} is not among the {len(known)} known ones")
    return np.array([position[name] for name in names], np.int64), known
