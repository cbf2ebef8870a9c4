"""Recognise image files by their names."""

from __future__ import annotations

# The suffixes of torchvision's ImageFolder.
IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


def is_image(path: str) -> bool:
    """Return whether a path or file name is that of an image file; False for hidden files."""
    return path.lower().endswith(IMAGE_SUFFIXES) and not path[path.rfind("/") + 1 :].startswith(".")
