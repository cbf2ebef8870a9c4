"""Packs all lists of a data set into shards: one set of shards, or one per split."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from adamae.data.annotations import Annotations, load_annotations
from adamae.data.class_names import class_names_beside, write_class_names
from adamae.data.shards.names import names_shards
from adamae.data.shards.packing import PackReport, pack
from adamae.data.splits import find_splits, load_other_split
from adamae.lookup import is_folder
from adamae.progress import ProgressCallback


def pack_data_set(
    source: str | Path,
    out: str | Path,
    *,
    data_root: str | Path | None = None,
    progress: ProgressCallback | None = None,
    **options: Any,
) -> dict[str, PackReport]:
    """Pack any source that ``--data_path`` accepts.

    Args:
        source: A list, a folder of videos or shards, which are packed to ``out`` itself; or a folder with lists or
            sub-folders for training, validation and test, each packed to a sub-folder of ``out``, with equal classes.
        out: Folder to write to.
        data_root: Folder that relative paths of lists start from; None for each list's own folder.
        progress: Called with the number of videos done and the total, from any thread.
        options: Options of :func:`~adamae.data.shards.packing.pack`.

    Returns:
        The report of each split, or a single one with the key "".

    Raises:
        UserError: A list is malformed, its classes are not those of the training list, or as for
            :func:`~adamae.data.shards.packing.pack`.
    """
    lists = dict(_lists(source, data_root))
    total = sum(len(videos) for videos in lists.values())
    reports: dict[str, PackReport] = {}
    before = 0
    for split, videos in lists.items():

        def tell(done: int, _: int, before: int = before) -> None:
            if progress is not None:
                progress(before + done, total)

        reports[split] = pack(videos, Path(out) / split, progress=tell, **options)
        before += len(videos)
    names = next(iter(lists.values())).classes
    if "" not in lists and names is not None:
        write_class_names(Path(out), names)
    return reports


def _lists(source: str | Path, data_root: str | Path | None) -> Iterator[tuple[str, Annotations]]:
    place = Path(source)
    has_splits = is_folder(place) and not names_shards(place)
    found = find_splits(place) if has_splits else {}
    classes = None if names_shards(source) else class_names_beside(place)
    if found in ({}, {"train": place}):
        yield "", load_annotations(source, data_root=data_root, classes=classes)
        return
    load = partial(load_annotations, data_root=data_root)
    train = load(found["train"], classes=classes, split="train")
    yield "train", train
    for split, path in found.items():
        if split != "train":
            yield split, load_other_split(load, path, split, train, sorted_names=classes is None)[0]
