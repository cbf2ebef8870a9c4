"""Shards of any origin become rows, or one clear line says why not."""

import errno
import fcntl
import gzip
import http.server
import io
import json
import multiprocessing
import os
import pickle
import tarfile
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adamae.data.annotations import Annotations, load_annotations
from adamae.data.dataset import pretrain_dataset
from adamae.data.decoding import DecodeError, EncodedVideo, get_decoder, pyav
from adamae.data.packed_text import PackedText
from adamae.data.shards import opening
from adamae.data.shards.archive import OpenShards
from adamae.data.shards.fetching import fetch, local_copy
from adamae.data.shards.index import ShardIndex
from adamae.data.shards.packing import pack
from adamae.data.splits import load_splits
from adamae.errors import UserError
from tests.data.conftest import MakeVideo
from tests.data.shards.conftest import write_shard

Row = tuple[str, int, bytes]


def rows(source: str | Path) -> list[Row]:
    """Name, label and bytes of every video."""
    videos = load_annotations(source)
    return [(videos.name(row), int(videos.labels[row]), data_of(videos, row)) for row in range(len(videos))]


def data_of(videos: Annotations, row: int) -> bytes:
    video = videos.video(row)
    assert isinstance(video, EncodedVideo)
    return video.data


@pytest.fixture
def copied(packed: Path, tmp_path: Path) -> Path:
    """The packed shards, to be damaged."""
    folder = tmp_path / "copied"
    folder.mkdir()
    for path in packed.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture
def no_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where headers are read although an index is there."""

    def refuse(path: str) -> None:
        raise AssertionError(f"the headers of {path} were read")

    monkeypatch.setattr(opening, "read_headers", refuse)


def test_every_way_to_name_them(packed: Path, no_headers: None) -> None:
    whole = rows(packed)
    assert len(whole) == 12
    assert rows(f"{packed}/{{000000..000003}}.tar") == whole
    assert rows(f"{packed}/000000.tar::{packed}/00000{{1,2,3}}.tar") == whole
    assert rows(f"file://{packed}/{{000000..000003}}.tar") == whole
    assert rows(packed / "000002.tar") == whole[6:9]
    assert rows(f"{packed}/00000{{3,1}}.tar") == whole[9:12] + whole[3:6]


def test_an_index_that_is_missing_damaged_or_stale_is_made_again(
    copied: Path, cache: Path, rng: np.random.Generator
) -> None:
    expected = rows(copied)
    index = copied / "adamae-index.npz"
    whole = index.read_bytes()
    for _ in range(12):
        broken = bytearray(whole)
        for place in rng.integers(len(broken), size=3):
            broken[place] = rng.integers(256)
        index.write_bytes(bytes(broken[: rng.integers(len(broken))] if rng.integers(2) else broken))
        assert rows(copied) == expected
    index.unlink()
    assert rows(copied) == expected
    assert not index.exists()
    (remembered,) = (cache / "indices").glob("*.npz")
    # The second shard gets other videos: the index of before does not fit, nor does the one that is remembered.
    index.write_bytes(whole)
    write_shard(copied / "000001.tar", {"x": {"mp4": b"other", "cls": b"2"}})
    changed = [*expected[:3], ("x.mp4", 2, b"other"), *expected[6:]]
    assert rows(copied) == changed
    before = remembered.stat().st_mtime_ns
    assert rows(copied) == changed
    assert remembered.stat().st_mtime_ns == before


def test_headers_are_read_once(copied: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (copied / "adamae-index.npz").unlink()
    expected = rows(copied)
    with monkeypatch.context() as patched:
        patched.setattr(opening, "read_headers", lambda path: pytest.fail(f"{path} was read again"))
        assert rows(copied) == expected
    # A file of the same size that is newer is another one.
    os.utime(copied / "000000.tar", ns=(1, 1))
    assert rows(copied) == expected


def test_a_cache_that_cannot_be_written_is_done_without(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = rows(copied)
    (copied / "adamae-index.npz").unlink()
    (tmp_path / "file").touch()
    monkeypatch.setenv("ADAMAE_CACHE", str(tmp_path / "file"))
    assert rows(copied) == expected


def test_shards_of_others(tmp_path: Path) -> None:
    """Folders in keys, several suffixes, labels in every place where they may be."""
    write_shard(
        tmp_path / "s" / "a-0.tar",
        {
            "d/0": {"mp4": b"0", "cls": b"7\n"},
            "d.e/1": {"webm": b"1", "json": b'{"label": 3, "caption": "x"}'},
            "2": {"video.AVI": b"2", "json": b"[5]"},
            "3": {"mkv": b"3", "txt": b"4", "npy": b"not looked at"},
            "4": {"mov": b"4", "jpg": b"preview"},
            "5": {"jpg": b"preview of a video that is missing", "cls": b"1"},
        },
    )
    write_shard(tmp_path / "s" / "a-1.tar", {"0": {"mp4": b"6", "cls": b"0", "json": b'{"label": 3}', "txt": b"9"}})
    assert rows(tmp_path / "s" / "a-{0..1}.tar") == rows(tmp_path / "s") == [
        ("d/0.mp4", 7, b"0"),
        ("d.e/1.webm", 3, b"1"),
        ("2.video.AVI", -1, b"2"),
        ("3.mkv", -1, b"3"),
        ("4.mov", -1, b"4"),
        ("0.mp4", 0, b"6"),
    ]  # fmt: skip


def test_images_in_shards_of_others(tmp_path: Path, rng: np.random.Generator) -> None:
    """Without a video in the shard the images are rows; masks beside them are not."""
    image = io.BytesIO()
    pixels = rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(image, "PNG")
    content = image.getvalue()
    samples = {"a/0": {"png": content, "seg.png": b"mask", "cls": b"3"}, "1": {"JPG": content, "json": b'{"label": 4}'}}
    write_shard(tmp_path / "n.tar", samples)
    assert rows(tmp_path / "n.tar") == [("a/0.png", 3, content), ("1.JPG", 4, content)]
    videos = load_annotations(tmp_path / "n.tar", image_files="images")
    with get_decoder()(videos.video(1)) as reader:
        assert np.array_equal(reader.read([0])[0], pixels)
    with pytest.raises(UserError, match=r"a/0\.png: is an image and has a single frame"):
        load_annotations(tmp_path / "n.tar", image_files="frames")


def test_packed_images_and_videos_need_no_index(tmp_path: Path, make_video: MakeVideo) -> None:
    make_video("v.mp4", 3)
    Image.new("RGB", (9, 8)).save(tmp_path / "i.jpg")
    (tmp_path / "list.csv").write_text("v.mp4 0\ni.jpg 1\n")
    pack(load_annotations(tmp_path / "list.csv"), tmp_path / "out", shuffle=False)
    packed = rows(tmp_path / "out")
    assert [(name, label) for name, label, _ in packed] == [("v.mp4", 0), ("i.jpg", 1)]
    (tmp_path / "out" / "adamae-index.npz").unlink()
    assert rows(tmp_path / "out") == packed


def test_names_as_labels(tmp_path: Path) -> None:
    names = ["riding a bike", "archery", "archery", "riding a bike", "archery"]
    write_shard(tmp_path / "t.tar", {str(i): {"mp4": b"v", "cls": name.encode()} for i, name in enumerate(names)})
    videos = load_annotations(tmp_path / "t.tar")
    assert videos.classes == ("archery", "riding a bike")
    assert videos.labels.tolist() == [1, 0, 0, 1, 0]
    known = ["other", "riding a bike", "archery"]
    assert load_annotations(tmp_path / "t.tar", classes=known).labels.tolist() == [1, 2, 2, 1, 2]
    with pytest.raises(UserError, match=r"t\.tar/0\.mp4: the class 'riding a bike' is not among the 1 known ones"):
        load_annotations(tmp_path / "t.tar", classes=["archery"])
    captioned = {str(i): {"mp4": b"v", "txt": name.encode()} for i, name in enumerate(names)}
    write_shard(tmp_path / "c.tar", captioned)
    assert load_annotations(tmp_path / "c.tar").labels.tolist() == [-1] * 5
    write_shard(tmp_path / "j.tar", {"a": {"mp4": b"v", "json": b'{"class": "archery"}'}, "b": {"mp4": b"v"}})
    videos = load_annotations(tmp_path / "j.tar")
    assert videos.labels.tolist() == [0, -1]
    assert load_annotations(tmp_path / "j.tar", classes=["x", "archery"]).labels.tolist() == [1, -1]


def test_class_names_beside_the_shards(copied: Path) -> None:
    (copied / "classes.txt").write_text("x\ny\nz\nmore\n")
    assert load_annotations(copied).classes == ("x", "y", "z", "more")
    (copied / "classes.txt").write_text("x\ny\n")
    with pytest.raises(UserError, match=r"000\d\.tar/c/.*: the label is 2, expected less than 2"):
        load_annotations(copied)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("{d}/{{000000..000005}}.tar", "000004.tar: no such shard; 2 of the 6 that .* names are missing"),
        ("{d}/000009.tar", r"000009\.tar: no such shard$"),
        ("{d}/{{000000..000003.tar", "Unbalanced braces"),
        ("{d}/000000.tar::{d}/000000.tar", "names .*000000.tar twice"),
        ("{d}/{{000000..000003}}.mp4", r"000000\.mp4: expected a name that ends in \.tar"),
        ("{d}/{{0..3}}.tar.gz", r"0\.tar\.gz: a compressed tar cannot be read at any place"),
        ("{d}/{{000000..000003}}", r"000000: expected a name that ends in \.tar"),
        ("pipe:false {d}/0.tar", r"/0\.tar: cannot be fetched \(the program that fetches it left with code 1\)$"),
        (
            "s3://bucket/{{0..1}}.tar",
            r"s3://bucket/0\.tar: cannot be fetched \(the webdataset library knows no such scheme",
        ),
    ],
)
def test_sources_that_are_wrong(packed: Path, named: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        load_annotations(named.format(d=packed))
    assert "\n" not in str(raised.value)


def test_what_is_there_is_what_its_name_says(packed: Path, source: Annotations, tmp_path: Path) -> None:
    """Whatever stands in it joins or numbers nothing."""
    expected = rows(packed)
    (tmp_path / "a::b").symlink_to(packed)
    assert rows(tmp_path / "a::b") == expected
    for name in ("c::d.tar", "{0..3}.tar"):
        (tmp_path / name).symlink_to(packed / "000001.tar")
        assert rows(tmp_path / name) == expected[3:6]
    listed = tmp_path / "e::f.csv"
    listed.write_text(f"{source.path(0)} 0\n")
    assert load_annotations(listed).path(0) == source.path(0)


def test_a_shard_that_cannot_be_looked_up(packed: Path, closed: Path) -> None:
    first = f"{packed}/000000.tar"
    with pytest.raises(UserError, match=rf"^{first}/0\.tar: no such shard$"):
        load_annotations(f"{first}/0.tar")
    with pytest.raises(UserError, match=rf"^{closed}/0\.tar: the shard cannot be read \(Permission denied\)$"):
        load_annotations(f"{first}::{closed}/0.tar")


def test_tars_that_are_wrong(copied: Path, tmp_path: Path) -> None:
    shard = copied / "000002.tar"
    whole = shard.read_bytes()
    with tarfile.open(shard) as tar:
        second = tar.getmembers()[3]
    (copied / "adamae-index.npz").unlink()
    for content, message in (
        (whole[: second.offset_data + 700], "is damaged or no tar file .*unexpected end of data"),
        (whole[: second.offset], rf"damaged at byte {second.offset}: it ends there without a tar's end mark"),
        (
            whole[: second.offset] + b"x" * 512 + whole[second.offset + 512 :],
            f"damaged at byte {second.offset}: no header",
        ),
        (b"", "is damaged or no tar file"),
        (b"plain text " * 999, "is damaged or no tar file"),
        (gzip.compress(whole), "is damaged or no tar file"),
    ):
        shard.write_bytes(content)
        with pytest.raises(UserError, match=rf"000002\.tar: {message}") as raised:
            load_annotations(copied)
        assert "\n" not in str(raised.value)
    write_shard(tmp_path / "none.tar", {"0": {"txt": b"x"}})
    with pytest.raises(UserError, match=r"none\.tar: no video or image in 1 shards"):
        load_annotations(tmp_path / "none.tar")
    write_shard(tmp_path / "m.tar", {"0": {"mp4": b"x", "cls": b"3"}, "1": {"mp4": b"x", "cls": b"archery"}})
    with pytest.raises(UserError, match=r"m\.tar/1\.mp4: the label is 'archery', expected a number as elsewhere"):
        load_annotations(tmp_path / "m.tar")


def test_random_damage_gives_rows_or_one_clear_line(copied: Path, rng: np.random.Generator) -> None:
    shard = copied / "000000.tar"
    whole = shard.read_bytes()
    (copied / "adamae-index.npz").unlink()
    for _ in range(40):
        broken = bytearray(whole)
        for place in rng.integers(len(broken), size=rng.integers(1, 40)):
            broken[place] = rng.integers(256)
        shard.write_bytes(bytes(broken[: rng.integers(len(broken)) if rng.integers(2) else None]))
        try:
            videos = load_annotations(shard)
            for row in range(len(videos)):
                with pyav.open_video(videos.video(row)) as reader:
                    reader.read([0])
        except UserError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(("failure", "lost"), [(errno.ESTALE, 0), (errno.EIO, 1)])
def test_a_shard_whose_server_went_away_is_opened_anew(
    packed: Path, monkeypatch: pytest.MonkeyPatch, failure: int, lost: int
) -> None:
    """As long as it stays open it fails; of what is lost the first reading is all."""
    videos, expected = load_annotations(packed / "000000.tar"), rows(packed)[:3]
    read, gone = os.pread, set[int]()

    def fail(descriptor: int, size: int, offset: int) -> bytes:
        if descriptor in gone:
            raise OSError(failure, os.strerror(failure))
        return read(descriptor, size, offset)

    def close(descriptor: int) -> None:
        gone.discard(descriptor)
        shut(descriptor)

    shut = os.close
    monkeypatch.setattr(os, "pread", fail)
    monkeypatch.setattr(os, "close", close)
    assert data_of(videos, 0) == expected[0][2]
    assert videos.members is not None
    gone.update(videos.members.archive._open.values())
    for _ in range(lost):
        with pytest.raises(DecodeError, match=r"its shard cannot be read \(Input/output error\)"):
            data_of(videos, 1)
    assert [data_of(videos, row) for row in range(3)] == [data for _, _, data in expected]


def test_what_breaks_after_opening_is_a_bad_video(copied: Path, packed: Path) -> None:
    videos = load_annotations(copied)
    shard = copied / "000001.tar"
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DecodeError, match=r"000001\.tar/.*: its shard ends before it does"):
        videos.video(5)
    videos = load_annotations(packed).select(range(3, 6))
    moved = Annotations(**{**vars(videos), "members": videos.members.take(np.arange(3))})  # type: ignore[union-attr]
    moved.members.offsets[:] += 512  # type: ignore[union-attr]
    with pytest.raises(DecodeError, match="has something else at this place: it does not fit its index"):
        moved.video(0)
    shard.unlink()
    gone = load_annotations(packed)
    gone = Annotations(**{**vars(gone), "members": gone.members.take(np.arange(12))})  # type: ignore[union-attr]
    object.__setattr__(gone.members, "archive", OpenShards([str(copied / f"{n:06d}.tar") for n in range(4)]))
    data = pretrain_dataset(gone, num_frames=2, sampling_rate=1, size=32)
    sample = data[0, 4]
    assert sample["index"].item() not in (3, 4, 5)
    assert sample["bad"][0]["reason"] == "its shard cannot be read (No such file or directory)"


def test_a_member_that_is_no_video_is_replaced(tmp_path: Path, make_video: MakeVideo) -> None:
    good = make_video("a.mp4", 6).read_bytes()
    members = {str(number): {"mp4": b"no video" if number == 2 else good} for number in range(6)}
    data = pretrain_dataset(
        load_annotations(write_shard(tmp_path / "x.tar", members)), num_frames=2, sampling_rate=1, size=32
    )
    sample = data[0, 2]
    assert sample["bad"][0]["path"] == f"{tmp_path}/x.tar/2.mp4"
    assert sample["index"].item() != 2


def test_few_files_are_open_and_none_travels(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adamae.data.shards.archive._MOST_OPEN", 2)
    videos = load_annotations(packed)
    expected = rows(packed)
    for row in (0, 4, 8, 11, 1, 3, 10, 0):
        assert data_of(videos, row) == expected[row][2]
    assert videos.members is not None
    held = videos.members.archive._open
    assert len(held) == 2
    there = pickle.loads(pickle.dumps(videos))
    assert not there.members.archive._open
    assert [data_of(there, row) for row in range(12)] == [row[2] for row in expected]
    descriptors = list(held.values())
    del videos, held
    for descriptor in descriptors:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


def test_splits_of_shards_are_those_of_the_videos(source: Annotations, packed: Path) -> None:
    """A video goes to the same split whether it lies in a folder or in a shard."""
    files, shards = load_splits(source.source), load_splits(packed)
    assert shards.classes == files.classes
    for split in ("train", "val", "test"):
        one, other = getattr(files, split), getattr(shards, split)
        named = {one.name(row): int(one.labels[row]) for row in range(len(one))}
        assert named == {other.name(row): int(other.labels[row]) for row in range(len(other))}


@pytest.fixture
def address(packed: Path) -> Iterator[str]:
    """The packed shards on a server."""

    class Silent(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    handler = partial(Silent, directory=str(packed))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_shards_on_a_server_are_fetched_once(
    address: str, packed: Path, cache: Path, no_headers: None, caplog: pytest.LogCaptureFixture
) -> None:
    source, expected = f"{address}/{{000000..000003}}.tar", rows(packed)
    assert rows(source) == expected
    assert caplog.messages == [f"fetching 4 of 4 shards to {cache}/shards"]
    copies = {path: path.stat().st_mtime_ns for path in (cache / "shards").glob("*.tar")}
    assert sorted(path.name[17:] for path in copies) == [f"{number:06d}.tar" for number in range(4)]
    videos = load_annotations(source)
    assert videos.classes == ("a", "b", "c")
    assert videos.path(7) == f"{address}/000002.tar/{expected[7][0]}"
    assert {path: path.stat().st_mtime_ns for path in (cache / "shards").glob("*.tar")} == copies
    assert len(caplog.messages) == 1
    assert not list((cache / "shards").glob("*.part"))


def test_shards_that_a_command_fetches(packed: Path, tmp_path: Path) -> None:
    """Without an index: fetched once, and searched once."""
    log = tmp_path / "log"
    for number in range(2):
        (tmp_path / f"{number}.tar").write_bytes((packed / f"00000{number}.tar").read_bytes())
    source = f"pipe:sh -c 'echo $0 >> {log}; cat $0 2>&-' {tmp_path}/{{0..1}}.tar"
    assert rows(source) == rows(packed)[:6]
    assert load_annotations(source).path(0).startswith(f"{tmp_path}/0.tar/")
    (tmp_path / "0.tar").unlink()
    assert rows(source) == rows(packed)[:6]
    asked = [line for line in log.read_text().splitlines() if line.endswith(".tar")]
    assert sorted(asked) == [f"{tmp_path}/0.tar", f"{tmp_path}/1.tar"]


def fetch_in_process(address: str, copies: "multiprocessing.Queue[str]") -> None:
    copies.put(str(fetch(address)))


def test_processes_that_want_the_same_shard_wait_for_the_first(packed: Path, tmp_path: Path, cache: Path) -> None:
    log, context = tmp_path / "log", multiprocessing.get_context("fork")
    address = f"pipe:sh -c 'echo x >> {log}; sleep 0.3; cat $0' {packed}/000000.tar"
    copies = context.Queue()
    processes = [context.Process(target=fetch_in_process, args=(address, copies)) for _ in range(4)]
    for process in processes:
        process.start()
    (copy,) = {copies.get(timeout=60) for _ in processes}
    for process in processes:
        process.join()
    assert log.read_text() == "x\n"
    assert Path(copy).read_bytes() == (packed / "000000.tar").read_bytes()


def test_a_copy_that_cannot_be_written(packed: Path, cache: Path, tmp_path: Path) -> None:
    address = f"pipe:cat {packed}/000000.tar"
    lock = local_copy(address).with_name(f".{local_copy(address).name}.lock")
    lock.mkdir()
    with pytest.raises(UserError, match=rf"^{lock}: cannot be written \(Is a directory\): name another cache folder"):
        load_annotations(address)


@pytest.mark.parametrize(("failure", "there"), [(errno.ENOLCK, True), (errno.EIO, False)])
def test_a_file_system_without_locks(packed: Path, monkeypatch: pytest.MonkeyPatch, failure: int, there: bool) -> None:
    def fail(*_: object) -> None:
        raise OSError(failure, os.strerror(failure))

    monkeypatch.setattr(fcntl, "flock", fail)
    address = f"pipe:cat {packed}/000000.tar"
    if there:
        assert rows(address) == rows(packed)[:3]
    else:
        with pytest.raises(UserError, match=r"cannot be written \(Input/output error\): name another cache folder"):
            load_annotations(address)


def test_without_the_library_one_line_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adamae.data.shards.fetching.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"x/0\.tar: needs the package 'webdataset' to be fetched"):
        load_annotations("https://x/0.tar")


def test_a_folder_with_an_archive_beside_its_videos_is_no_shards(tmp_path: Path, make_video: MakeVideo) -> None:
    make_video("set/a/0.mp4", 3)
    make_video("set/b/1.mp4", 3)
    write_shard(tmp_path / "set" / "download.tar", {"0": {"mp4": b"x"}})
    assert load_annotations(tmp_path / "set").classes == ("a", "b")


def test_a_folder_with_a_list_and_an_archive_is_that_list(tmp_path: Path, make_video: MakeVideo) -> None:
    video = make_video("elsewhere/0.mp4", 3)
    write_shard(tmp_path / "set" / "videos.tar", {"0": {"mp4": b"x"}})
    (tmp_path / "set" / "train.csv").write_text(f"{video}\n")
    videos = load_annotations(tmp_path / "set")
    assert [videos.path(row) for row in range(len(videos))] == [str(video)]


def test_hidden_files_are_no_shards(copied: Path) -> None:
    whole = rows(copied)
    (copied / "._000000.tar").write_bytes(b"resource fork")
    assert rows(copied) == whole


def test_class_names_of_shards_in_several_folders(tmp_path: Path) -> None:
    for folder in ("x.tar.d", "b"):
        write_shard(tmp_path / folder / "x.tar", {str(label): {"mp4": b"v", "cls": b"%d" % label} for label in (0, 1)})
    place = f"{tmp_path}/x.tar.d/x.tar::{tmp_path}/b/x.tar"
    assert load_annotations(place).classes is None
    (tmp_path / "x.tar.d" / "classes.txt").write_text("cat\ndog\n")
    with pytest.raises(
        UserError, match=r"b/classes\.txt: missing, but .*d/classes\.txt names the classes of other shards"
    ):
        load_annotations(place)
    (tmp_path / "b" / "classes.txt").write_text("cow\nfox\n")
    with pytest.raises(UserError, match=r"b/classes\.txt: other classes than in .*d/classes\.txt; expected the same"):
        load_annotations(place)
    (tmp_path / "b" / "classes.txt").write_text("cat\ndog\n")
    videos = load_annotations(place)
    assert (videos.classes, videos.labels.tolist()) == (("cat", "dog"), [0, 1, 0, 1])


def test_class_names_of_a_command_that_names_its_shard_twice(tmp_path: Path, cache: Path) -> None:
    write_shard(tmp_path / "a" / "x.tar", {str(label): {"mp4": b"v", "cls": b"%d" % label} for label in (0, 1)})
    (tmp_path / "a" / "classes.txt").write_text("cat\ndog\n")
    assert load_annotations(f"pipe:cat {tmp_path}/a/x.tar || cat {tmp_path}/b/x.tar").classes == ("cat", "dog")


def test_json_that_is_none_is_no_label(tmp_path: Path) -> None:
    contents = [
        b"{",
        b"null",
        b"[]",
        b'{"label": null}',
        b'{"label": true}',
        b'{"label": [1]}',
        b"[" * 60_000,
        b'{"label": "\\ud800"}',
        json.dumps("x").encode(),
    ]
    samples = {str(number): {"mp4": b"v", "json": content} for number, content in enumerate(contents)}
    videos = load_annotations(write_shard(tmp_path / "x.tar", samples))
    assert videos.labels.tolist() == [-1] * 8 + [0]
    assert videos.classes == ("x",)


def test_a_lone_surrogate_is_no_name(tmp_path: Path) -> None:
    content = b'{"file": "\\ud800.mp4", "label": 3}'
    videos = load_annotations(write_shard(tmp_path / "x.tar", {"0": {"mp4": b"v", "json": content}}))
    assert (videos.name(0), videos.labels.tolist()) == ("0.mp4", [3])


@pytest.mark.slow
def test_half_a_million_videos_open_at_once(tmp_path: Path) -> None:
    """In a thousand shards, of which only the sizes are true."""
    per_shard, shards = 500, 1000
    rows = per_shard * shards
    for number in range(shards):
        (tmp_path / f"{number:06d}.tar").touch()
    index = ShardIndex(
        shards=tuple(f"{number:06d}.tar" for number in range(shards)),
        tar_sizes=np.zeros(shards, np.int64),
        tar_times=np.zeros(shards, np.int64),
        shard=np.repeat(np.arange(shards, dtype=np.int32), per_shard),
        offsets=np.arange(rows),
        sizes=np.arange(rows),
        labels=np.arange(rows) % 174,
        names=PackedText.of(f"videos/class_{row % 174}/a_rather_long_name_{row:09d}.mp4" for row in range(rows)),
        classes=None,
    )
    (tmp_path / "adamae-index.npz").write_bytes(index.as_bytes())
    start = time.process_time()
    videos = load_annotations(tmp_path)
    videos.order(0, 0, rows)
    seconds = time.process_time() - start
    print(f"{seconds:.2f} s")
    assert seconds < 3
    assert videos.path(rows - 1) == f"{tmp_path}/000999.tar/videos/class_97/a_rather_long_name_000499999.mp4"
    members = videos.members
    assert members is not None
    arrays = (members.shard, members.offsets, members.sizes, videos.labels, videos.names.ends)
    # Every worker that was forked looks at the same.
    assert sum(array.nbytes for array in arrays) + len(videos.names.data) < 100e6
