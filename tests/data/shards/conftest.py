"""Shards written by this package and by webdataset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import webdataset

from adamae.data.annotations import Annotations, load_annotations
from adamae.data.shards.packing import pack
from tests.data.conftest import encode


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty cache for each test."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("ADAMAE_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Annotations:
    """Twelve videos of 4 to 15 frames in three named classes."""
    folder = tmp_path_factory.mktemp("source")
    for number in range(12):
        encode(folder / "abc"[number % 3] / f"{number:02d}.mp4", 4 + number, size=(32, 32))
    return load_annotations(folder)


@pytest.fixture(scope="session")
def packed(source: Annotations, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The videos of :func:`source` in four shards."""
    folder = tmp_path_factory.mktemp("packed") / "shards"
    pack(source, folder, videos_per_shard=3)
    return folder


def write_shard(path: Path, samples: Mapping[str, Mapping[str, bytes]]) -> Path:
    """Write a shard with webdataset, from a mapping of key to suffix to content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with webdataset.TarWriter(str(path), encoder=False) as writer:
        for key, members in samples.items():
            writer.write({"__key__": key, **members})
    return path


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the contents of all files below a folder, by relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
