"""Decides whether image files are images, each a clip of one frame, or the frames of videos."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from adamae.data.decoding.frame_folder import is_picture, is_series
from adamae.data.decoding.image_names import IMAGE_SUFFIXES, is_image
from adamae.data.list_rows import VIDEO_SUFFIXES, is_video
from adamae.data.threads import ScanProgress
from adamae.data.walking import look_into, walk
from adamae.errors import UserError

# "images": each image file is a clip of one frame. "frames": folders of numbered image files are videos, and images are
# an error. "auto": lists may contain both; image files in a folder are frames if they are numbered without gaps in most
# of the first sub-folders found.
ImageFiles = Literal["auto", "frames", "images"]
_LOOKED_AT = 32


def image_files_for(num_frames: int) -> ImageFiles:
    """Return how to treat image files for clips of ``num_frames`` frames.

    A still image in place of a clip of several frames is nearly always a mistake, so it is an error.
    """
    return "images" if num_frames == 1 else "frames"


def check_images(paths: Iterable[str], image_files: ImageFiles) -> None:
    """Raise on images in a list or in shards if clips have several frames.

    Args:
        paths: All files, in order.
        image_files: How image files are treated.

    Raises:
        UserError: One is an image, and clips have several frames.
    """
    first = next(filter(is_image, paths), None) if image_files == "frames" else None
    if first is not None:
        raise UserError(
            f"{first}: is an image and has a single frame, expected videos for clips of several frames; "
            "--num_frames 1 reads images"
        )


def files_below(root: Path, image_files: ImageFiles, scanning: ScanProgress | None = None) -> list[str]:
    """Return the sorted paths of videos and images in a folder and below: files, or folders of numbered frames.

    Args:
        root: Folder to scan; see :func:`~adamae.data.walking.walk` for the files that are included.
        image_files: "frames" and "auto" use image files only if there are no video files, "images" uses both.
        scanning: Called with the number of files found so far, and None.

    Raises:
        UserError: No file is found, or a folder cannot be read.
    """
    files: list[str] = []
    # Folders with image files. The names of all frames would not fit into memory.
    folders: list[str] = []
    numbered: list[str] = []
    verdicts: list[bool] = []
    for folder, names in walk(root, progress=None if scanning is None else lambda found: scanning(found, None)):
        wanted = [name for name in names if is_video(name) or (image_files == "images" and is_image(name))]
        files += [os.path.join(folder, name) for name in wanted]  # noqa: PTH118 (speed)
        if files or not any(map(is_image, names)):
            continue
        folders.append(folder)
        if folder and any(map(is_picture, names)):
            numbered.append(folder)
            if len(verdicts) < _LOOKED_AT:
                verdicts.append(is_series(names))
    if not files and 2 * sum(verdicts) > len(verdicts):
        files = _topmost(numbered)
    elif not files and image_files == "auto":
        files = [path for folder in folders for path in _images_in(root, folder)]
    elif not files and folders:
        raise UserError(
            f"{root}: no video in this folder or below it, and the image files, for example in "
            f"{root / folders[0]}, are not numbered as the frames of videos (img_00001.jpg and so on); "
            "--num_frames 1 reads them as images"
        )
    if not files:
        raise UserError(
            f"{root}: no video or image in this folder or below it, expected files that end in "
            f"{' '.join(VIDEO_SUFFIXES)}, or images that end in {' '.join(IMAGE_SUFFIXES)}"
        )
    return sorted(files)


def _images_in(root: Path, folder: str) -> Iterator[str]:
    """Return the paths, relative to ``root``, of the images directly in a folder below it."""
    names = look_into(root / folder).files
    return (os.path.join(folder, name) for name in names if is_image(name))  # noqa: PTH118 (speed)


def _topmost(folders: Sequence[str]) -> list[str]:
    """Return the folders that are not below another one."""
    all_of_them = set(folders)
    return [folder for folder in folders if all_of_them.isdisjoint(map(str, Path(folder).parents))]
