"""The parts of a data set, and the names that others give them."""

from __future__ import annotations

SPLITS = ("train", "val", "test")
# The names of files and folders of a split, in the order in which they are looked for.
SPLIT_FILES = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
# What label files call a split.
SPLIT_OF = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys((*SPLIT_FILES["val"], "validate"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
