"""Whether image files are images, each a clip of one frame, or the frames of videos."""

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

# "images": each is a clip of one frame. "frames": folders of numbered ones are videos, and images are an error.
# "auto": lists may name both; the image files of a folder are frames if most of its sub-folders (of the first that are
# found) have them numbered without a gap.
ImageFiles = Literal["auto", "frames", "images"]
_LOOKED_AT = 32


def image_files_for(num_frames: int) -> ImageFiles:
    """What image files are for clips of ``num_frames`` frames.

    A still image in place of a clip of several frames is nearly always a mistake, so it is an error.
    """
    return "images" if num_frames == 1 else "frames"


def check_images(paths: Iterable[str], image_files: ImageFiles) -> None:
    """Refuse images in a list or in shards where clips have several frames.

    Args:
        paths: All files, in their order.
        image_files: What image files are.

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
    """Paths of the videos and images in and below a folder, sorted: files, or folders that hold numbered frames.

    Args:
        root: See :func:`~adamae.data.walking.walk` for what counts.
        image_files: "frames" and "auto" take image files only where there are no video files, "images" takes both.
        scanning: Called with how many files were found so far, and None.

    Raises:
        UserError: None is found, or a folder cannot be read.
    """
    files: list[str] = []
    # Where image files are; of folders of frames their names would not fit into memory.
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
    """Paths below ``root`` of the images right in a folder below it."""
    names = look_into(root / folder).files
    return (os.path.join(folder, name) for name in names if is_image(name))  # noqa: PTH118 (speed)


def _topmost(folders: Sequence[str]) -> list[str]:
    """Those that are not below another one."""
    all_of_them = set(folders)
    return [folder for folder in folders if all_of_them.isdisjoint(map(str, Path(folder).parents))]
