"""Which files are images, by their names."""

from __future__ import annotations

# Those of torchvision's ImageFolder.
IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


def is_image(path: str) -> bool:
    """Whether a path, or the name of a file, is that of an image. Hidden files are none."""
    return path.lower().endswith(IMAGE_SUFFIXES) and not path[path.rfind("/") + 1 :].startswith(".")
