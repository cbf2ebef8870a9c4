"""Loads the videos that a user names: one or several files, folders or lists, or shards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from adamae.data.annotations import Annotations, load_annotations
from adamae.data.decoding.frame_folder import is_picture, is_series
from adamae.data.decoding.image_names import is_image
from adamae.data.image_files import ImageFiles, check_images
from adamae.data.list_rows import UNLABELLED, is_video
from adamae.data.shards.names import names_shards
from adamae.data.walking import look_into
from adamae.errors import UserError
from adamae.lookup import is_folder

# Number of bytes at the start of a file that decide whether it is text.
_LOOKED_AT = 4096


def load_named(
    given: Sequence[str], *, data_root: str | None = None, split: str = "test", image_files: ImageFiles = "auto"
) -> Annotations:
    """Load all given videos, in the given order.

    Args:
        given: Each a video (a file or a folder of numbered frames), an image, a folder of these, or a list; or one set
            of shards. A file is a list if it is text and its name is not that of a video or an image.
        data_root: Folder that relative paths of lists start from, instead of each list's own folder.
        split: Split to read from a folder with several.
        image_files: Whether image files are images or frames of videos; see
            :func:`~adamae.data.image_files.image_files_for`.

    Returns:
        The videos, with labels if all inputs have the same class names or none has class names.

    Raises:
        UserError: A folder or a list is missing, malformed or without videos, shards are combined with other inputs,
            or one is an image and clips have several frames. Videos are not opened, so unreadable ones do not raise.
    """
    parts = []
    for place in given:
        if names_shards(place) and len(given) > 1:
            raise UserError(f"{place}: shards cannot be combined with other inputs")
        if not names_shards(place) and _is_one_video(Path(place), image_files):
            check_images([place], image_files)
            parts.append(Annotations.of([place], source=place))
        else:
            parts.append(load_annotations(place, data_root=data_root, split=split, image_files=image_files))
    return parts[0] if len(parts) == 1 else _join(parts)


def _is_one_video(place: Path, image_files: ImageFiles) -> bool:
    if is_folder(place):
        _, files, folders, links = look_into(place)
        if folders or links or any(map(is_video, files)) or image_files == "images":
            return False
        return any(map(is_picture, files)) if image_files == "frames" else is_series(files)
    if is_video(place.name) or is_image(place.name):
        return True
    try:
        with place.open("rb") as file:
            # Videos contain null bytes near their start; lists contain none.
            return b"\0" in file.read(_LOOKED_AT)
    except OSError:
        return False


def _join(parts: Sequence[Annotations]) -> Annotations:
    paths = [part.path(row) for part in parts for row in range(len(part))]
    classes = parts[0].classes if len({part.classes for part in parts}) == 1 else None
    agree = classes is not None or all(part.classes is None for part in parts)
    labels = np.concatenate([part.labels for part in parts])
    counts = [part.frames for part in parts if part.frames is not None]
    return Annotations.of(
        paths,
        labels if agree else np.full_like(labels, UNLABELLED),
        classes=classes,
        source=f"{parts[0].source} and {len(parts) - 1} more",
        # If one input has no frame counts, all images of a folder are used in the others, too.
        frames=np.concatenate(counts).tolist() if len(counts) == len(parts) else (),
    )
