"""Find the videos and label files below a downloaded folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from adamae.data.decoding.image_names import IMAGE_SUFFIXES
from adamae.data.list_rows import VIDEO_SUFFIXES
from adamae.data.threads import ScanProgress
from adamae.data.walking import walk
from adamae.errors import UserError
from adamae.lookup import is_folder

_LABEL_SUFFIXES = (".csv", ".json", ".mat", ".txt")


@dataclass(frozen=True)
class SourceTree:
    """Content of a folder.

    Attributes:
        root: The folder.
        videos: Sorted paths of videos below it; of images if there are no videos.
        label_files: Sorted paths of files that may contain labels.
        left_out: The output folder, which was not searched.
        images: Whether ``videos`` are images.
    """

    root: Path
    videos: list[str]
    label_files: list[Path]
    left_out: Path
    images: bool = False

    @property
    def noun(self) -> str:
        """Noun for one of ``videos``, for messages."""
        return "image" if self.images else "video"


def look_through(
    root: Path, *, annotations: Path | None, skip: Path, scanning: ScanProgress | None = None
) -> SourceTree:
    """Walk through a folder once.

    Args:
        root: Folder of the videos.
        annotations: Folder of the label files; None for ``root``.
        skip: The output folder, which may be inside ``root``.
        scanning: Called with (files found so far, None).

    Raises:
        UserError: A folder is missing or cannot be read, or there are no videos and no images.
    """
    for place in (root, annotations):
        if place is not None and not is_folder(place):
            raise UserError(f"{place}: no such folder")
    videos: list[str] = []
    images: list[str] = []
    label_files: list[Path] = []
    for path in _files_below(root, skip, scanning):
        suffix = os.path.splitext(path)[1].lower()  # noqa: PTH122 (speed)
        if suffix in VIDEO_SUFFIXES:
            videos.append(path)
        elif not videos and suffix in IMAGE_SUFFIXES:
            images.append(path)
        elif suffix in _LABEL_SUFFIXES and annotations is None:
            label_files.append(root / path)
    if annotations is not None:
        found = _files_below(annotations, skip, scanning)
        label_files = [annotations / path for path in found if path.lower().endswith(_LABEL_SUFFIXES)]
    if not videos and not images:
        raise UserError(
            f"{root}: no video or image in this folder or below it, expected files that end in "
            f"{' '.join(VIDEO_SUFFIXES)}, or images that end in {' '.join(IMAGE_SUFFIXES)}"
        )
    return SourceTree(root, sorted(videos or images), sorted(label_files), skip, images=not videos)


def _files_below(root: Path, skip: Path, scanning: ScanProgress | None) -> Iterator[str]:
    """Iterate over the files below ``root``, as relative paths."""
    progress = None if scanning is None else lambda found: scanning(found, None)
    for folder, names in walk(root, skip=skip, progress=progress):
        yield from (os.path.join(folder, name) for name in names)  # noqa: PTH118 (speed)
