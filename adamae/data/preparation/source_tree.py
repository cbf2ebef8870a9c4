"""Everything below the folder that was downloaded: videos, and files that may hold labels."""

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
    """What a folder holds.

    Attributes:
        root: The folder.
        videos: Paths of videos below it, sorted; of images where there is no video.
        label_files: Files that may hold labels, sorted.
        left_out: The folder of the results, which was not looked into.
        images: Whether ``videos`` are images.
    """

    root: Path
    videos: list[str]
    label_files: list[Path]
    left_out: Path
    images: bool = False

    @property
    def noun(self) -> str:
        """What one of ``videos`` is."""
        return "image" if self.images else "video"


def look_through(
    root: Path, *, annotations: Path | None, skip: Path, scanning: ScanProgress | None = None
) -> SourceTree:
    """Walk through a folder once.

    Args:
        root: Where the videos are.
        annotations: Where the label files are; None: in ``root``.
        skip: The folder of the results, which may lie inside.
        scanning: Called with how many files were found so far, and None.

    Raises:
        UserError: A folder is missing or cannot be read, or there is neither video nor image.
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
    """Paths below ``root``."""
    progress = None if scanning is None else lambda found: scanning(found, None)
    for folder, names in walk(root, skip=skip, progress=progress):
        yield from (os.path.join(folder, name) for name in names)  # noqa: PTH118 (speed)
