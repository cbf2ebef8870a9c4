"""The splits of a data set, and the names that data sets use for them."""

from __future__ import annotations

SPLITS = ("train", "val", "test")
# Names of the files and folders of a split, in the order in which they are tried.
SPLIT_FILES = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
# Names of the splits in label files.
SPLIT_OF = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys((*SPLIT_FILES["val"], "validate"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
