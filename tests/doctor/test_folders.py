"""What the doctor says of a data set: it reads folders, lists and shards as a run does."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from adamae.doctor import folders
from adamae.doctor.folders import check_data


def write_shard(path: Path, name: str) -> None:
    with tarfile.open(path, "w") as tar:
        for suffix, data in (("mp4", b"x"), ("cls", b"0")):
            member = tarfile.TarInfo(f"{name}.{suffix}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADAMAE_CACHE", str(tmp_path_factory.mktemp("cache")))


def test_a_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    found = check_data(str(tmp_path))
    assert found.status == "ok" and f"{tmp_path}: 1 video on " in found.value and "beginnings of" in found.value


def test_an_empty_folder_must_be_changed(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    found = check_data(str(tmp_path))
    assert "no video or image in this folder" in found.change and "beginnings" not in found.value


def test_the_videos_of_a_list_are_read_and_theirs_is_the_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    count = int(rng.integers(60, 200))
    (tmp_path / "far").mkdir()
    for number in range(count):
        (tmp_path / "far" / f"{number}.mp4").write_bytes(b"x")
    place = tmp_path / "train.csv"
    place.write_text("".join(f"far/{number}.mp4 0\n" for number in range(count)))
    far = os.path.realpath(tmp_path / "far")
    monkeypatch.setattr(
        folders, "_mounts", lambda: f"1 0 8:1 / / rw - ext4 /dev/root rw\n2 1 0:3 / {far} rw - nfs4 s rw"
    )
    read = []
    rate = folders._read_rate
    monkeypatch.setattr(folders, "_read_rate", lambda paths: read.extend(paths) or rate(paths))
    # The folder is that list.
    for source in (place, tmp_path):
        found = check_data(str(source))
        assert found.status in ("ok", "note") and f"{count} videos on nfs4 (network), beginnings of" in found.value
    assert len(set(read)) >= 25 and len(read) <= 100


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"nowhere.mp4 0\n", "none of the first 1 paths exists"),
        ("a.csv", b"\0\1\2", "not a text file"),
        ("a.csv", b"", "the list is empty"),
        ("a.mp4", b"x", "expected a list or a folder"),
        ("a.tar", b"x", "a.tar"),
    ],
)
def test_what_a_run_refuses_must_be_changed(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert words in check_data(str(tmp_path / name)).change


def test_shards_are_found_by_their_pattern(tmp_path: Path) -> None:
    write_shard(tmp_path / "000000.tar", "a")
    write_shard(tmp_path / "000001.tar", "b")
    pattern = f"{tmp_path}/{{000000..000001}}.tar"
    for source in (pattern, f"file://{pattern}", str(tmp_path)):
        found = check_data(source)
        assert found.status == "ok" and f"{source}: 2 videos in shards on " in found.value, found
    assert "000002.tar: no such shard" in check_data(f"{tmp_path}/{{000000..000002}}.tar").change


@pytest.mark.parametrize(
    "source", ["https://host/{000000..000009}.tar", "pipe:aws s3 cp s3://bucket/{000000..000009}.tar -"]
)
def test_remote_shards_are_not_fetched(source: str) -> None:
    found = check_data(source)
    assert found.change == "" and found.value == f"{source}: 10 remote shards, not fetched"


def test_remote_shards_need_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adamae.doctor.folders.find_spec", lambda package: None)
    assert check_data("https://host/0.tar").change == "to fetch shards: pip install webdataset"


def test_a_folder_of_frames_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    place = tmp_path / "train.csv"
    place.write_text("clip 16 0\n")
    found = check_data(str(place))
    assert found.status == "ok" and "1 video on" in found.value and "beginnings" not in found.value


def test_single_files_that_cannot_be_read_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "b.mp4").symlink_to("nowhere")
    os.mkfifo(tmp_path / "c.mp4")
    found = check_data(str(tmp_path))
    assert "beginnings" not in found.value
    assert found.change == f"none of those tried can be read, for example {tmp_path}/b.mp4: No such file or directory"
    (tmp_path / "a.mp4").write_bytes(b"x")
    found = check_data(str(tmp_path))
    assert (found.status, "beginnings of" in found.value) == ("ok", True)
