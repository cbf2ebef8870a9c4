"""Writes shards from a list of videos, in parallel; an interrupted call resumes where it stopped."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from adamae.data.annotations import Annotations
from adamae.data.class_names import write_class_names
from adamae.data.packed_text import PackedText
from adamae.data.shards.index import ShardIndex
from adamae.data.shards.layout import (
    Layout,
    header,
    key_of,
    lay_out,
    notes_of,
    order_of,
    shard_name,
    video_suffix,
)
from adamae.data.shards.names import INDEX_FILE, MANIFEST
from adamae.data.threads import in_threads
from adamae.errors import UserError
from adamae.files import begun, replacing, write_whole
from adamae.plain_text import counted
from adamae.progress import ProgressCallback

BAD_VIDEOS = "bad_videos.jsonl"
_VERSION = 1


@dataclass(frozen=True)
class PackReport:
    """Result of :func:`pack`.

    Attributes:
        folder: Folder of the shards.
        videos: Number of videos in the shards.
        noun: Kind of the videos: "video" or "image".
        shards: Number of shards.
        num_bytes: Total size of the shards in bytes.
        written: Number of shards written by this call; 0 if all existed.
        left_out: Videos that are not in the shards: ``path``, ``reason`` and ``index``, the row of the list.
    """

    folder: Path
    videos: int
    noun: str
    shards: int
    num_bytes: int
    written: int
    left_out: list[dict[str, Any]]


def pack(
    videos: Annotations,
    out: str | Path,
    *,
    shard_bytes: int = 10**9,
    videos_per_shard: int | None = None,
    shuffle: bool = True,
    seed: int = 0,
    workers: int = 1,
    max_bad_fraction: float = 0.05,
    progress: ProgressCallback | None = None,
) -> PackReport:
    """Write ``000000.tar``, ``000001.tar`` and so on, their index, ``classes.txt``, and the list of left out videos.

    A video is stored as ``<number>.mp4`` (or with its own suffix), its label as ``<number>.cls``, and
    ``<number>.json`` contains ``file``, its name in the list, ``label`` and ``class``. The same list and options result
    in the same bytes, on any machine and however often the call is interrupted.

    Args:
        videos: Videos to pack: files, or videos of other shards.
        out: Folder to write to: new, empty, or begun with the same list and options.
        shard_bytes: Maximum size of a shard in bytes; a single video may be larger.
        videos_per_shard: Number of videos in a shard, which replaces ``shard_bytes``.
        shuffle: Shuffle the videos; otherwise they are in the order of the list.
        seed: Seed of the shuffling.
        workers: Number of writing threads; each writes one shard at a time.
        max_bad_fraction: Raise if more than this fraction of the files is missing or empty.
        progress: Called after each video, from any thread.

    Raises:
        UserError: The folder contains something else, another process writes to it, a video cannot be read, or a
            shard cannot be written.
    """
    folder = Path(out).expanduser()
    rows = order_of(len(videos), shuffle=shuffle, seed=seed)
    sizes, left_out = _look_at_files(videos, rows, max_bad_fraction)
    there = sizes > 0
    layout = lay_out(videos, rows[there], sizes[there], shard_bytes=shard_bytes, videos_per_shard=videos_per_shard)
    manifest: dict[str, Any] = {
        "version": _VERSION,
        "videos": len(layout.rows),
        "shards": len(layout.tar_sizes),
        "bytes": int(layout.tar_sizes.sum()),
        "content": _digest(videos, layout),
    }
    with _writing_to(folder), begun(folder, MANIFEST, manifest):
        missing = [number for number in range(len(layout.tar_sizes)) if not _is_whole(folder, layout, number)]
        _check_space(folder, int(layout.tar_sizes[missing].sum()))
        _write_shards(folder, videos, layout, missing, workers, progress)
        _write_rest(folder, videos, layout, left_out)
    return PackReport(
        folder, len(layout.rows), videos.noun, len(layout.tar_sizes), manifest["bytes"], len(missing), left_out
    )


def _look_at_files(
    videos: Annotations, rows: np.ndarray, max_bad_fraction: float
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Return (n,) file sizes in bytes in the order of ``rows``, 0 for files left out, and these files in list order."""
    if videos.members is not None:
        return videos.members.sizes[rows], []
    found = in_threads(lambda row: _size_of(videos.path(row)), rows.tolist())
    left_out = [
        {"path": videos.path(row), "reason": size, "index": row}
        for row, size in sorted(zip(rows.tolist(), found, strict=True))
        if isinstance(size, str)
    ]
    if len(left_out) > max_bad_fraction * len(videos) or len(left_out) == len(videos):
        first = left_out[0]
        raise UserError(
            f"{videos.source}: {len(left_out)} of {counted(len(videos), videos.noun)} cannot be packed, more than "
            f"--max_bad_fraction {max_bad_fraction} allows; the first is {first['path']}: {first['reason']}"
        )
    return np.array([0 if isinstance(size, str) else size for size in found], np.int64), left_out


def _size_of(path: str) -> int | str:
    """Return the size of a file in bytes, or the reason why it cannot be packed."""
    place = Path(path)
    try:
        size = place.stat().st_size
    except FileNotFoundError:
        return "no such file"
    except OSError as error:
        return f"cannot be opened ({error.strerror})"
    if place.is_dir():
        return "is a folder, expected a video or an image file"
    return size or "the file is empty"


def _digest(videos: Annotations, layout: Layout) -> str:
    """Return a hash of everything that determines the shards' bytes, except for the contents of the files."""
    digest = hashlib.sha256()
    facts = zip(layout.rows.tolist(), layout.sizes.tolist(), layout.shard.tolist(), strict=True)
    for row, size, shard in facts:
        digest.update(f"{videos.name(row)}\0{videos.labels[row]}\0{size}\0{shard}\n".encode("utf-8", "surrogateescape"))
    digest.update("\n".join(videos.classes or ()).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _is_whole(folder: Path, layout: Layout, number: int) -> bool:
    # A shard gets its name only when it is complete.
    place = folder / shard_name(number)
    return place.is_file() and place.stat().st_size == layout.tar_sizes[number]


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(f"{folder}: {needed / 1e9:.2f} GB are to be written and {free / 1e9:.2f} GB are free")


def _write_shards(
    folder: Path,
    videos: Annotations,
    layout: Layout,
    missing: list[int],
    workers: int,
    progress: ProgressCallback | None,
) -> None:
    done, lock, stop = len(layout.rows) - sum(len(layout.places(number)) for number in missing), threading.Lock(), False

    def count() -> None:
        nonlocal done
        if stop:
            raise InterruptedError
        with lock:
            done += 1
            if progress is not None:
                progress(done, len(layout.rows))

    with ThreadPoolExecutor(max(workers, 1)) as pool:
        shards = [pool.submit(_write_shard, folder, videos, layout, number, count) for number in missing]
        try:
            for shard in shards:
                shard.result()
        finally:
            # After a failure or an interrupt, do not finish the other shards.
            stop = True
            pool.shutdown(wait=False, cancel_futures=True)


def _write_shard(folder: Path, videos: Annotations, layout: Layout, number: int, count: Callable[[], None]) -> None:
    with (
        replacing(folder / shard_name(number)) as temporary,
        tarfile.open(temporary, mode="w", format=tarfile.GNU_FORMAT) as tar,
    ):
        for place in layout.places(number):
            row, key = int(layout.rows[place]), key_of(place)
            with _Source(videos, row, int(layout.sizes[place])) as source:
                tar.addfile(header(key, video_suffix(videos.name(row)), source.size), source)
                source.check_end()
            for suffix, content in notes_of(videos, row):
                tar.addfile(header(key, suffix, len(content)), io.BytesIO(content))
            count()


class _Source:
    """The bytes of a video. Errors name the video.

    Args:
        videos: The list.
        row: Row of the video.
        size: Size in bytes when the layout was computed.
    """

    def __init__(self, videos: Annotations, row: int, size: int) -> None:
        self.size = size
        self._path = videos.path(row)
        with self._blamed():
            self._file: BinaryIO = (
                Path(self._path).open("rb")  # noqa: SIM115 (closed on leaving)
                if videos.members is None
                else io.BytesIO(videos.members.read(row, self._path).data)
            )

    def read(self, size: int = -1, /) -> bytes:
        with self._blamed():
            content = self._file.read(size)
        if len(content) < size:
            self._complain()
        return content

    def check_end(self) -> None:
        if self._file.read(1):
            self._complain()

    def __enter__(self) -> _Source:
        return self

    def __exit__(self, *raised: object) -> None:
        self._file.close()

    def _complain(self) -> None:
        raise UserError(f"{self._path}: had {self.size} bytes a moment ago and has not now: is it still being written?")

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(
                f"{self._path}: cannot be read ({error.strerror or error}); take it off the list, or mend it"
            ) from None


def _offsets_of(folder: Path, layout: Layout, number: int) -> np.ndarray:
    """Return (k,) int64 offsets of the videos of a shard, read from its headers.

    Raises:
        UserError: The shard does not match the layout.
    """
    shard = folder / shard_name(number)
    videos: dict[str, tarfile.TarInfo] = {}
    try:
        with tarfile.open(shard, mode="r:") as tar:
            for member in tar:
                # The video is the first of the members that share a key; see ``_write_shard``.
                videos.setdefault(member.name.partition(".")[0], member)
    except tarfile.TarError:
        videos.clear()
    places = layout.places(number)
    held = [(key, member.size) for key, member in videos.items()]
    if held != [(key_of(place), size) for place, size in zip(places, layout.sizes[places].tolist(), strict=True)]:
        raise UserError(f"{shard}: holds other files than the list; delete it, and the same command writes it anew")
    return np.array([member.offset_data for member in videos.values()], np.int64)


def _write_rest(folder: Path, videos: Annotations, layout: Layout, left_out: list[dict[str, Any]]) -> None:
    """Write the files beside the shards; the index last, as it marks the folder as complete."""
    if videos.classes is not None:
        write_class_names(folder, videos.classes)
    if left_out:
        lines = [json.dumps(record, sort_keys=True) + "\n" for record in left_out]
        write_whole(folder / BAD_VIDEOS, "".join(lines).encode())
    chosen = videos.select(layout.rows)
    offsets = in_threads(lambda number: _offsets_of(folder, layout, number), range(len(layout.tar_sizes)))
    index = ShardIndex(
        shards=tuple(shard_name(number) for number in range(len(layout.tar_sizes))),
        tar_sizes=layout.tar_sizes,
        tar_times=np.zeros(len(layout.tar_sizes), np.int64),
        shard=layout.shard,
        offsets=np.concatenate(offsets),
        sizes=layout.sizes,
        labels=chosen.labels,
        names=PackedText.of(chosen.name(row) for row in range(len(chosen))),
        classes=None,
    )
    write_whole(folder / INDEX_FILE, index.as_bytes())


@contextmanager
def _writing_to(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write shards to {folder}: {error.strerror or error}") from error
