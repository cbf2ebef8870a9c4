"""What is in the shards, byte for byte, however the work went."""

import json
import os
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import webdataset

from adamae.data.annotations import Annotations, load_annotations, read_list
from adamae.data.decoding import EncodedVideo
from adamae.data.shards.data_set import pack_data_set
from adamae.data.shards.headers import read_headers
from adamae.data.shards.index import ShardIndex, index_of
from adamae.data.shards.packing import pack
from adamae.errors import UserError
from tests.data.shards.conftest import files_of


def content(videos: Annotations) -> dict[str, tuple[int, bytes]]:
    """Label and bytes of every video by its name."""
    found = {}
    for row in range(len(videos)):
        video = videos.video(row)
        data = video.data if isinstance(video, EncodedVideo) else Path(video).read_bytes()
        found[videos.name(row)] = int(videos.labels[row]), data
    return found


def test_every_video_comes_back_with_its_label(source: Annotations, packed: Path) -> None:
    shards = load_annotations(packed)
    assert shards.classes == source.classes == ("a", "b", "c")
    assert content(shards) == content(source)
    assert [shards.name(row) for row in range(12)] != [source.name(row) for row in range(12)]
    row = next(row for row in range(12) if shards.name(row) == "b/04.mp4")
    assert shards.path(row) in {f"{packed}/{number:06d}.tar/b/04.mp4" for number in range(4)}


def test_the_webdataset_library_reads_them(source: Annotations, packed: Path) -> None:
    shards = load_annotations(packed)
    samples = list(webdataset.WebDataset(str(packed / "{000000..000003}.tar"), shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == [f"{place:09d}" for place in range(12)]
    for row, sample in enumerate(samples):
        video = shards.video(row)
        assert isinstance(video, EncodedVideo)
        assert sample["mp4"] == video.data
        label = int(shards.labels[row])
        assert sample["cls"] == str(label).encode()
        assert json.loads(sample["json"]) == {"file": shards.name(row), "label": label, "class": "abc"[label]}


def test_the_same_bytes_from_any_number_of_threads(source: Annotations, packed: Path, tmp_path: Path) -> None:
    done: list[tuple[int, int]] = []
    report = pack(source, tmp_path / "out", videos_per_shard=3, workers=4, progress=lambda *at: done.append(at))
    assert files_of(report.folder) == files_of(packed)
    assert (report.videos, report.shards, report.written, report.left_out) == (12, 4, 4, [])
    assert done == [(number, 12) for number in range(1, 13)]
    before = {path: path.stat().st_mtime_ns for path in report.folder.glob("*.tar")}
    assert pack(source, tmp_path / "out", videos_per_shard=3).written == 0
    assert {path: path.stat().st_mtime_ns for path in report.folder.glob("*.tar")} == before


def die_at(event: int, source: Annotations, out: Path) -> bool:
    """Pack in a process that is killed at its so-manieth video or renaming; whether it came that far."""
    child = os.fork()
    if not child:
        left = event
        rename = Path.replace

        def count(*_: object) -> None:
            nonlocal left
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

        def replace(path: Path, target: Path) -> Path:
            count()
            rename(path, target)
            count()
            return target

        Path.replace = replace  # type: ignore[method-assign, assignment]
        try:
            pack(source, out, videos_per_shard=3, progress=count)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.slow
def test_killed_anywhere_the_next_call_finishes_the_same(source: Annotations, packed: Path, tmp_path: Path) -> None:
    """12 videos; 4 shards, manifest, class names and index are renamed: 26 events, before and after each renaming."""
    expected = files_of(packed)
    event = 0
    while die_at(event, source, out := tmp_path / str(event)):
        pack(source, out, videos_per_shard=3)
        assert files_of(out) == expected, f"killed at event {event}"
        event += 1
    assert event == 26
    # And killed again and again.
    out = tmp_path / "often"
    for event in (5, 3, 9):
        assert die_at(event, source, out)
    pack(source, out, videos_per_shard=3)
    assert files_of(out) == expected


def test_stopped_by_hand_no_half_shard_is_left(source: Annotations, packed: Path, tmp_path: Path) -> None:
    here = threading.main_thread().ident
    assert here is not None

    def stop(done: int, total: int) -> None:
        if done == 4:
            signal.pthread_kill(here, signal.SIGINT)
            time.sleep(0.2)

    with pytest.raises(KeyboardInterrupt):
        pack(source, tmp_path / "out", videos_per_shard=3, progress=stop)
    left = files_of(tmp_path / "out")
    assert "000003.tar" not in left
    assert all(files_of(packed)[name] == content for name, content in left.items())
    pack(source, tmp_path / "out", videos_per_shard=3)
    assert files_of(tmp_path / "out") == files_of(packed)


@pytest.mark.parametrize("content", [bytes, lambda size: b"x" * size])
def test_a_shard_of_the_same_size_that_is_another_one(
    content: Callable[[int], bytes], source: Annotations, packed: Path, tmp_path: Path
) -> None:
    shutil.copytree(packed, out := tmp_path / "out")
    shard = out / "000002.tar"
    shard.write_bytes(content(shard.stat().st_size))
    with pytest.raises(UserError, match=r"000002\.tar: holds other files than the list; delete it, and the same"):
        pack(source, out, videos_per_shard=3)
    shard.unlink()
    pack(source, out, videos_per_shard=3)
    assert files_of(out) == files_of(packed)


def test_an_unfinished_folder_is_told(source: Annotations, tmp_path: Path) -> None:
    assert die_at(12, source, tmp_path / "out")
    with pytest.raises(UserError, match=r"out: holds 2 of 4 shards; the same call of `adamae pack` finishes them"):
        load_annotations(tmp_path / "out")


def test_the_index_is_what_the_headers_say(packed: Path) -> None:
    index = ShardIndex.load(packed / "adamae-index.npz")
    assert index is not None
    contents = [read_headers(str(packed / shard)) for shard in index.shards]
    again = index_of(index.shards, index.tar_sizes, index.tar_times, contents)
    for name, value in vars(index).items():
        other = getattr(again, name)
        same = np.array_equal(value, other) if isinstance(value, np.ndarray) else list(value or ()) == list(other or ())
        assert same, name
    assert [(packed / shard).stat().st_size for shard in index.shards] == index.tar_sizes.tolist()


def test_sizes_of_shards(source: Annotations, tmp_path: Path) -> None:
    sizes = [Path(source.path(row)).stat().st_size for row in range(12)]
    # A sample takes its video, two small members and four headers' worth of rounding.
    most = 3 * (max(sizes) + 5 * 512)
    pack(source, tmp_path / "fit", shard_bytes=most)
    held = [path.stat().st_size for path in sorted((tmp_path / "fit").glob("*.tar"))]
    assert len(held) > 1
    # A tar is filled up to its record of 10240 bytes.
    assert all(size <= most + 10240 for size in held)
    assert len(load_annotations(tmp_path / "fit")) == 12
    assert pack(source, tmp_path / "one", shard_bytes=1).shards == 12
    assert pack(source, tmp_path / "all").shards == 1


def test_the_order(source: Annotations, tmp_path: Path) -> None:
    def names(**options: object) -> list[str]:
        out = tmp_path / "-".join(map(str, options.values()))
        pack(source, out, videos_per_shard=6, **options)  # type: ignore[arg-type]
        shards = load_annotations(out)
        return [shards.name(row) for row in range(12)]

    listed = [source.name(row) for row in range(12)]
    assert names(shuffle=False) == listed
    mixed, other = names(seed=1), names(seed=2)
    assert sorted(mixed) == sorted(other) == sorted(listed)
    assert len({tuple(mixed), tuple(other), tuple(listed)}) == 3


def test_shards_can_be_packed_anew(source: Annotations, packed: Path, tmp_path: Path) -> None:
    pack(load_annotations(packed), tmp_path / "two", videos_per_shard=6)
    again = load_annotations(tmp_path / "two")
    assert content(again) == content(source)
    assert again.classes == source.classes


def test_rows_without_labels_and_odd_names(source: Annotations, tmp_path: Path) -> None:
    data = Path(source.path(0)).read_bytes()
    names = ["a.b/c.d.mp4", "with space.MP4", "ümlaut.mp4", b"\xff\xe9.webm".decode("utf-8", "surrogateescape"), "x"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    videos = Annotations.of(names, np.array([3, -1, 0, -1, 1]), root=str(tmp_path))
    report = pack(videos, tmp_path / "out", videos_per_shard=2)
    assert content(load_annotations(report.folder)) == content(videos)
    (report.folder / "adamae-index.npz").unlink()
    assert content(load_annotations(report.folder)) == content(videos)
    assert not (report.folder / "classes.txt").exists()


def test_videos_beside_the_list_s_folder(source: Annotations, tmp_path: Path) -> None:
    """Their names begin with ``../``; in a shard they lie below it all the same."""
    (tmp_path / "lists").mkdir()
    (tmp_path / "a.mp4").write_bytes(Path(source.path(0)).read_bytes())
    (tmp_path / "lists" / "train.csv").write_text(f"../a.mp4 0\n{source.path(1)} 1\n")
    videos = read_list(tmp_path / "lists" / "train.csv")
    pack(videos, tmp_path / "out", shuffle=False)
    shards = load_annotations(tmp_path / "out")
    assert content(shards) == content(videos)
    assert shards.path(0) == f"{tmp_path}/out/000000.tar/a.mp4"
    assert ".." not in shards.path(1)


def test_files_that_are_not_there(source: Annotations, tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "folder.mp4").mkdir()
    good = [source.path(row) for row in range(9)]
    place = tmp_path / "list.csv"
    place.write_text("\n".join([*good, "gone.mp4", "empty.mp4", "folder.mp4"]))
    with pytest.raises(UserError, match=r"3 of 12 videos cannot be packed, more than --max_bad_fraction 0.05 allows"):
        pack(read_list(place), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    report = pack(read_list(place), tmp_path / "out", max_bad_fraction=0.25)
    reasons = ["no such file", "the file is empty", "is a folder, expected a video or an image file"]
    assert [(entry["index"], entry["reason"]) for entry in report.left_out] == list(enumerate(reasons, 9))
    lines = (tmp_path / "out" / "bad_videos.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == report.left_out
    assert len(load_annotations(tmp_path / "out")) == 9


def test_places_that_cannot_be_written(source: Annotations, packed: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"full exists and contains no pack.json: expected a new or empty folder"):
        pack(source, tmp_path / "full")
    with pytest.raises(UserError, match=r"cannot write shards to .*file"):
        pack(source, tmp_path / "file" / "below")
    with pytest.raises(UserError, match=r"was started with shards = 4, got shards = 3: delete it, or choose another"):
        pack(source, packed, videos_per_shard=4)
    with pytest.raises(UserError, match="was started with videos = 12, got videos = 11"):
        pack(source.select(range(11)), packed, videos_per_shard=3)


def test_a_full_disk_leaves_no_half_shard(source: Annotations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed = []

    def no_space(descriptor: int) -> None:
        flushed.append(descriptor)
        if len(flushed) > 1:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(UserError, match=r"cannot write shards to .*: No space left on device"):
        pack(source, tmp_path / "out", workers=3, videos_per_shard=3)
    assert list(files_of(tmp_path / "out")) == ["pack.json"]


def test_a_file_that_changes_meanwhile(source: Annotations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "a.mp4"
    place.write_bytes(bytes(1000))
    monkeypatch.setattr("adamae.data.shards.packing._size_of", lambda path: 2000)
    with pytest.raises(UserError, match=r"a\.mp4: had 2000 bytes a moment ago and has not now"):
        pack(Annotations.of([str(place)]), tmp_path / "out")
    monkeypatch.setattr("adamae.data.shards.packing._size_of", lambda path: 500)
    with pytest.raises(UserError, match=r"a\.mp4: had 500 bytes a moment ago and has not now"):
        pack(Annotations.of([str(place)]), tmp_path / "less")


def test_a_data_set_gets_a_folder_for_each_split(source: Annotations, tmp_path: Path) -> None:
    """Classes are those of training in all of them, though the test list lacks the first one."""
    folder = tmp_path / "set"
    folder.mkdir()
    for split, rows in (("train", (0, 1, 3, 4, 5, 8, 9)), ("val", (2, 6)), ("test", (7, 10, 11))):
        lines = [f"{source.path(row)},{source.classes[source.labels[row]]}" for row in rows]  # type: ignore[index]
        (folder / f"{split}.csv").write_text("\n".join(lines))
    done: list[tuple[int, int]] = []
    reports = pack_data_set(folder, tmp_path / "out", progress=lambda *at: done.append(at), videos_per_shard=3)
    assert {split: report.videos for split, report in reports.items()} == {"train": 7, "val": 2, "test": 3}
    assert done[-1] == (12, 12)
    assert (tmp_path / "out" / "classes.txt").read_text() == "a\nb\nc\n"
    for split in ("train", "val", "test"):
        shards = load_annotations(tmp_path / "out", split=split)
        assert shards.classes == ("a", "b", "c")
        for row in range(len(shards)):
            assert shards.name(row).split("/")[-2] == "abc"[shards.labels[row]]
    assert Counter(path.name for path in (tmp_path / "out").iterdir()) == Counter(
        ["classes.txt", "train", "val", "test"]
    )


@pytest.mark.parametrize(("train", "test"), [("cat", "0"), ("0", "cat")])
def test_names_in_one_list_and_numbers_in_another_are_not_packed(
    source: Annotations, tmp_path: Path, train: str, test: str
) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for split, label in (("train", train), ("test", test)):
        (folder / f"{split}.csv").write_text(f"{source.path(0)},{label}\n")
    with pytest.raises(UserError, match=r"test\.csv: labels are .*, those of .*train\.csv are .*; expected"):
        pack_data_set(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
