"""The one walk through folders: loops, links, folders that may not be read, names of any bytes, and its threads."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adamae.cli.main import main
from adamae.data import frame_counts, threads
from adamae.data.annotations import Annotations, load_annotations, scan_folder
from adamae.data.class_names import read_class_names
from adamae.data.preparation import reencoding
from adamae.data.preparation.prepare import prepare
from adamae.data.preparation.transcoding import Encoding
from adamae.data.scanning.scan import scan
from adamae.data.splits import load_splits
from adamae.data.walking import walk
from adamae.errors import UserError
from adamae.evaluation.labels import find_class_names
from tests.data.conftest import encode


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def names(videos: Annotations) -> list[str]:
    return [videos.names[row] for row in range(len(videos))]


def test_a_link_to_its_own_folder_lists_a_video_once(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.mp4")
    (tmp_path / "a" / "loop").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a" / "self")
    assert names(scan_folder(tmp_path)) == ["a/1.mp4"]


def test_a_link_does_not_take_the_place_of_what_it_leads_to(tmp_path: Path) -> None:
    touch(tmp_path / "set", "z/deep/1.mp4", "b/2.mp4")
    touch(tmp_path / "elsewhere", "3.mp4", "more/4.mp4")
    (tmp_path / "set" / "a").symlink_to(tmp_path / "set" / "z" / "deep")
    (tmp_path / "set" / "b" / "one").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "b" / "two").symlink_to(tmp_path / "elsewhere" / "more")
    found = ["b/2.mp4", "b/one/3.mp4", "b/two/4.mp4", "z/deep/1.mp4"]
    assert names(scan_folder(tmp_path / "set")) == found
    report = prepare("folder", tmp_path / "set", tmp_path / "out", encoding=None)
    assert report.found == len(found)


def test_hidden_folders_and_what_a_disk_has_of_its_own_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.mp4", "a/.cache/2.mp4", ".trash/3.mp4", "lost+found/4.mp4")
    assert names(scan_folder(tmp_path)) == ["a/1.mp4"]


def test_folders_of_pictures_end_the_walk(tmp_path: Path) -> None:
    touch(tmp_path, "a/v/img_00001.jpg", "a/v/more/img_00001.jpg", "a/v-2/img_00001.jpg", "a/empty/x.txt")
    assert names(scan_folder(tmp_path)) == ["a/v", "a/v-2"]


@pytest.fixture
def unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that may not be read, whoever runs the test."""
    touch(tmp_path, "a/1.mp4", "b/2.mp4", "closed/3.mp4")
    whole = os.scandir

    def scandir(place: Any = ".") -> Any:
        if os.fspath(place) == str(tmp_path / "closed"):
            raise PermissionError(errno.EACCES, "Permission denied", str(place))
        return whole(place)

    monkeypatch.setattr(os, "scandir", scandir)
    return tmp_path


def test_an_unreadable_folder_is_one_line(unreadable: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = f"{unreadable / 'closed'}: the folder cannot be read (Permission denied)"
    for place in (unreadable, unreadable / "closed"):
        for load in (load_annotations, scan_folder, load_splits):
            with pytest.raises(UserError) as raised:
                load(place)
            assert str(raised.value) == message
    for words in (["scan"], ["prepare", "folder"], ["pack"]):
        assert main([*words, str(unreadable), "-o", str(unreadable / "out"), "--workers", "1"]) == 2
        assert capsys.readouterr().err == f"adamae: error: {message}\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_of_mode_000(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.mp4", "closed/3.mp4")
    (tmp_path / "closed").chmod(0)
    for place in (tmp_path, tmp_path / "closed"):
        for load in (load_annotations, load_splits):
            with pytest.raises(UserError, match="closed: the folder cannot be read"):
                load(place)
    (tmp_path / "closed").chmod(0o755)


def test_a_mark_at_the_beginning_is_no_part_of_the_first_class(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_bytes(b"\xef\xbb\xbfwalk\r\nrun \r\n\r\n")
    touch(tmp_path, "1.mp4", "2.mp4", "3.mp4", "4.mp4")
    (tmp_path / "train.csv").write_text("1.mp4 walk\n2.mp4 run\n3.mp4 walk\n4.mp4 run\n")
    assert read_class_names(tmp_path / "classes.txt") == ("walk", "run")
    assert load_splits(tmp_path).classes == ("walk", "run")
    assert find_class_names(2, source=tmp_path) == ("walk", "run")
    assert prepare("folder", tmp_path, tmp_path / "prepared", encoding=None).classes == ("walk", "run")
    (tmp_path / "videos").mkdir()
    for number in range(4):
        encode(tmp_path / f"{number + 1}.mp4", 2)
    assert main(["pack", str(tmp_path / "train.csv"), "-o", str(tmp_path / "shards")]) == 0
    (tmp_path / "shards" / "classes.txt").write_bytes((tmp_path / "classes.txt").read_bytes())
    assert load_annotations(tmp_path / "shards").classes == ("walk", "run")


# Threads that take part even on a machine so busy that the first have done much before the last begin.
FEW = 3
ODD = (b'a "b", c.mp4', b"two\nlines.mp4", b"\xff\xe9.mp4", b"r\r.mp4", b" blank.mp4", "x\x85y\u2028z.mp4".encode())


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos whose names hold whatever a file system takes, in a class of such a name, and one that is no video."""
    folder = tmp_path_factory.mktemp("odd") / "set"
    whole = encode(folder / "plain.mp4", 9).read_bytes()
    inside = folder / os.fsdecode(b"c \xfe,")
    inside.mkdir()
    for name in ODD:
        (inside / os.fsdecode(name)).write_bytes(whole)
    (inside / os.fsdecode(b'no\n"video"\xff\r.mp4')).write_bytes(b"no video" * 99)
    return folder


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_what_scan_writes_can_be_read(odd: Path, tmp_path: Path, labelled: bool, elsewhere: bool) -> None:
    place = odd / os.fsdecode(b"c \xfe,")
    source = odd if labelled else place
    (odd / "plain.mp4").unlink(missing_ok=True)  # beside the folders it would take away their labels
    out = tmp_path if elsewhere else source
    report = scan(source, out=out)
    good = load_annotations(out / "scan.good.csv")
    assert sorted(os.fsencode(Path(good.path(row)).name) for row in range(len(good))) == sorted(ODD)
    assert all(Path(good.path(row)).is_file() for row in range(len(good)))
    assert (good.classes == (place.name,)) == labelled
    bad = load_annotations(out / "scan.bad.csv")
    assert [bad.path(row) for row in range(len(bad))] == [report.bad[0].path]
    # A list that was written so is scanned as any other, and keeps its lines.
    again = scan(out / "scan.good.csv", out=out if elsewhere else None)
    assert (again.decoded, again.bad) == (0, ())
    assert names(load_annotations(out / "scan.good.good.csv")) == names(good)


def test_json_of_odd_names_is_valid(odd: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["scan", str(odd), "-o", str(tmp_path), "--workers", "1", "--json"]) == 0
    told = json.loads(capfdbinary.readouterr().out.decode("utf-8"))
    (path,) = (video["path"] for video in told["bad"])
    assert Path(path).is_file()
    assert main(["scan", str(odd), "-o", str(tmp_path), "--workers", "1"]) == 0
    assert os.fsencode(path) in capfdbinary.readouterr().out


def test_an_error_about_an_odd_name_is_one_line(odd: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scan", str(odd / "two\nlines.csv")]) == 2
    assert capsys.readouterr().err.endswith("two\\nlines.csv: no such list or folder\n")


class SlowFileSystem:
    """Every look at a file takes a while; counts how many look at the same time."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.calls = self.most = self._now = 0
        self._lock = threading.Lock()

    def stat(self, place: Any, **options: Any) -> os.stat_result:
        with self._lock:
            self.calls += 1
            self._now += 1
            self.most = max(self.most, self._now)
        time.sleep(self.seconds)
        with self._lock:
            self._now -= 1
        return Path(place).stat(**options)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowFileSystem]:
    """``os.stat`` of the modules that look at videos takes five milliseconds."""
    system = SlowFileSystem(0.005)

    class Os:
        stat = staticmethod(system.stat)

        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

    monkeypatch.setattr(frame_counts, "os", Os())
    yield system


def test_scan_looks_at_files_by_threads_and_tells_how_far_it_is(
    tmp_path: Path, slow: SlowFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 640
    for number in range(count):
        (tmp_path / f"{number}.mp4").touch()
    told: list[tuple[int, int | None]] = []
    monkeypatch.setattr("adamae.data.scanning.scan.run_jobs", lambda *args, **kwargs: iter(()))
    begin = time.perf_counter()
    scan(tmp_path, scanning=lambda seen, total: told.append((seen, total)))
    seconds = time.perf_counter() - begin
    assert slow.calls == count
    assert FEW < slow.most <= threads.THREADS
    # One after the other they alone would take longer than this.
    assert seconds < count * slow.seconds
    assert told[0] == (count, None)
    assert told[-1] == (count, count)
    assert len(told) > 10
    assert told == sorted(told, key=lambda pair: pair[0] if pair[1] else 0)


def test_prepare_looks_at_sources_and_results_by_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(32):
        encode(tmp_path / "in" / f"{number}.mp4", 1, (16, 16))
    whole, callers = reencoding._stat, set()

    def stat(path: Path) -> tuple[int, int]:
        time.sleep(0.01)
        callers.add((threading.get_ident(), path.is_relative_to(tmp_path / "in")))
        return whole(path)

    monkeypatch.setattr(reencoding, "_stat", stat)
    told: list[tuple[int, int | None]] = []
    for _ in range(2):
        prepare(
            "folder",
            tmp_path / "in",
            tmp_path / "out",
            encoding=Encoding(short_side=16),
            scanning=lambda seen, total: told.append((seen, total)),
        )
    for is_source in (True, False):
        assert len([1 for _, source in callers if source == is_source]) > FEW
    assert told[0] == (32, None)
    assert (32, 32) in told


def test_the_walk_reads_folders_of_one_depth_by_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(40):
        touch(tmp_path, f"{number}/v.mp4")
    whole, callers = os.scandir, set()

    def scandir(place: Any = ".") -> Any:
        time.sleep(0.005)
        callers.add(threading.get_ident())
        return whole(place)

    monkeypatch.setattr(os, "scandir", scandir)
    found: list[int] = []
    assert len(list(walk(tmp_path, progress=found.append))) == 41
    assert len(callers) > FEW
    assert found == [0, *range(1, 41)]


def test_in_threads_keeps_the_order_and_stops_at_an_error(rng: np.random.Generator) -> None:
    items = rng.integers(0, 1000, int(rng.integers(0, 5000))).tolist()
    told: list[tuple[int, int | None]] = []
    assert threads.in_threads(lambda x: x * 2, items, lambda *far: told.append(far)) == [x * 2 for x in items]
    assert not items or told[-1] == (len(items), len(items))
    with pytest.raises(ZeroDivisionError):
        threads.in_threads(lambda x: 1 // x, [1, 0])
