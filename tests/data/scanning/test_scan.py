"""Scanning lists: what is good, what is bad and why, stopped and gone on with, and what training takes from it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from adamae.data.annotations import load_annotations
from adamae.data.frame_counts import FrameCounts, counts_of_list, video_key
from adamae.data.scanning.journal import ScanJournal
from adamae.data.scanning.scan import scan
from adamae.errors import UserError
from adamae.randomness import sample_generator
from tests.data.conftest import encode
from tests.data.killing import killed_at
from tests.launching import ROOT

FRAMES = {"a/0.mp4": 9, "a/two words.mp4": 12, "b/2.mp4": 3}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three whole videos of two classes, one cut off, one that is none."""
    folder = tmp_path_factory.mktemp("made")
    for name, frames in FRAMES.items():
        encode(folder / name, frames)
    whole = encode(folder / "b" / "cut.mkv", 40).read_bytes()
    (folder / "b" / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    (folder / "b" / "none.mp4").write_bytes(b"no video" * 99)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy with a list that also names what is not there."""
    shutil.copytree(made, tmp_path / "set")
    lines = ["label,video", *(f"{name[0]},{name}" for name in FRAMES), "b,b/gone.mp4", "", "b,b/none.mp4", "a,a/0.mp4"]
    (tmp_path / "set" / "list.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "set"


def results(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != "list.csv"}


def test_a_list_is_parted_and_keeps_its_format(folder: Path) -> None:
    report = scan(folder / "list.csv")
    assert [(video.row, Path(video.path).name) for video in report.bad] == [(3, "gone.mp4"), (4, "none.mp4")]
    assert (report.videos, report.decoded, report.frames) == (6, 6, 9 + 12 + 3 + 9)
    assert (folder / "list.good.csv").read_text().splitlines() == [
        "label,video",
        "a,a/0.mp4",
        "a,a/two words.mp4",
        "b,b/2.mp4",
        "a,a/0.mp4",
    ]
    bad = (folder / "list.bad.csv").read_text().splitlines()
    assert bad[:2] == ["path,label,reason", f"{folder}/b/gone.mp4,b,no such file"]
    assert bad[2].startswith(f"{folder}/b/none.mp4,b,not a readable video")
    assert set(results(folder)) == {"list.good.csv", "list.bad.csv", "list.frames.npz"}
    good = load_annotations(folder / "list.good.csv")
    counts = counts_of_list(good.source, "pyav")
    assert counts is not None
    assert [counts.of_video(good.path(row)) for row in range(4)] == [9, 12, 3, 9]
    assert counts_of_list(good.source, "decord") is None
    # The list of bad videos can itself be read.
    assert load_annotations(folder / "list.bad.csv").path(1) == f"{folder}/b/none.mp4"


def test_the_report_names_reasons_and_examples(folder: Path) -> None:
    told = scan(folder / "list.csv").render()
    assert told.startswith("6 videos: 4 good with 33 frames, 2 bad\n6 decoded in ")
    assert f"       1  no such file, for example {folder}/b/gone.mp4" in told
    assert f"wrote {folder}/list.good.csv" in told


def test_a_second_scan_decodes_only_what_is_bad_or_new(folder: Path) -> None:
    scan(folder / "list.csv")
    before = results(folder)
    assert scan(folder / "list.csv").decoded == 2
    assert results(folder) == before
    encode(folder / "b" / "gone.mp4", 5)
    encode(folder / "a" / "0.mp4", 7)
    report = scan(folder / "list.csv")
    assert (report.decoded, report.frames, len(report.bad)) == (4, 7 + 12 + 3 + 5 + 7, 1)
    # A scan of every frame does not take over what one of three frames found.
    assert scan(folder / "list.csv", full=True).decoded == 6
    assert scan(folder / "list.csv").decoded == 1


def test_what_an_older_version_found_is_looked_at_again(folder: Path) -> None:
    """It took files that are cut off for good ones; its counts still serve training."""
    scan(folder / "list.csv")
    with np.load(folder / "list.frames.npz") as file:
        older = {name: file[name] for name in file.files if name != "cut_off_known"}
    np.savez(folder / "list.frames.npz", **older)
    counts = counts_of_list(folder / "list.csv", "pyav")
    assert counts is not None
    assert counts.of_video(str(folder / "a" / "0.mp4")) == 9
    assert scan(folder / "list.csv").decoded == 6
    assert scan(folder / "list.csv").decoded == 2


def test_the_good_list_knows_its_list_s_counts(folder: Path) -> None:
    scan(folder / "list.csv")
    bad = (folder / "list.bad.csv").read_bytes()
    report = scan(folder / "list.good.csv")
    assert (report.videos, report.decoded, report.bad) == (4, 0, ())
    assert (folder / "list.bad.csv").read_bytes() == bad


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("after", [1, 3, 5])
def test_stopped_anywhere_it_goes_on_to_the_same_output(folder: Path, tmp_path: Path, after: int) -> None:
    scan(folder / "list.csv", out=tmp_path / "whole")

    def stop(done: int, total: int) -> None:
        if done == after:
            raise StoppedError

    with pytest.raises(StoppedError):
        scan(folder / "list.csv", out=tmp_path / "stopped", progress=stop)
    (journal,) = (tmp_path / "stopped").iterdir()
    with journal.open("a") as file:
        file.write("[17, 2")  # cut off by the kill
    report = scan(folder / "list.csv", out=tmp_path / "stopped")
    # The list names one video twice.
    assert 6 - after - 1 <= report.decoded <= 6 - after
    assert results(tmp_path / "stopped") == results(tmp_path / "whole")


@pytest.mark.slow
def test_killed_anywhere_it_goes_on_to_the_same_output(folder: Path, tmp_path: Path) -> None:
    line = [sys.executable, "-m", "adamae", "scan", str(folder / "list.csv"), "--workers", "1", "-o"]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    scan(folder / "list.csv", out=tmp_path / "whole")
    killed = tmp_path / "killed"
    for _ in range(2):
        process = subprocess.Popen([*line, str(killed)], env=env, stdout=subprocess.DEVNULL)
        journal = killed / "list.scan.jsonl"
        seen = journal.stat().st_size if journal.exists() else 0
        while process.poll() is None and (not journal.exists() or journal.stat().st_size < seen + 9):
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert subprocess.run([*line, str(killed)], env=env, stdout=subprocess.DEVNULL).returncode == 0
    assert results(killed) == results(tmp_path / "whole")


def test_other_settings_begin_a_new_journal(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"decoder": "pyav", "full": False}
    journal = ScanJournal(tmp_path / "journal", settings)
    journal.add(2**64 - 1, 5)
    journal.add(3, "is empty")
    journal.add(4, (9, 1))
    assert ScanJournal(tmp_path / "journal", settings).found == {2**64 - 1: 5, 3: "is empty", 4: (9, 1)}
    assert ScanJournal(tmp_path / "journal", settings | {"full": True}).found == {}


def test_results_elsewhere_have_paths_that_lead_there(folder: Path, tmp_path: Path) -> None:
    scan(folder / "list.csv", out=tmp_path / "out")
    good = load_annotations(tmp_path / "out" / "list.good.csv")
    assert [Path(good.path(row)) for row in range(4)] == [folder / name for name in (*FRAMES, "a/0.mp4")]
    assert good.classes == ("a", "b")
    scan(folder / "list.csv", out=tmp_path / "rooted", data_root=folder)
    assert "a,a/0.mp4" in (tmp_path / "rooted" / "list.good.csv").read_text().splitlines()


def test_lists_that_count_frames_and_folders_of_pictures(folder: Path, tmp_path: Path) -> None:
    for number in range(1, 4):
        (folder / "pictures").mkdir(exist_ok=True)
        Image.new("RGB", (20, 16)).save(folder / "pictures" / f"img_{number:05}.jpg")
    (folder / "list.csv").write_text("pictures 3 1\na/0.mp4 9 0\npictures 5 1\n")
    report = scan(folder / "list.csv")
    assert [(video.row, video.reason) for video in report.bad] == [
        (2, "img_00004.jpg is missing: 3 images, and the list says 5")
    ]
    assert (folder / "list.good.csv").read_text() == "pictures 3 1\na/0.mp4 9 0\n"
    assert scan(folder / "list.csv").bad == report.bad
    scan(folder / "list.csv", out=tmp_path / "out")
    good = load_annotations(tmp_path / "out" / "list.good.csv")
    assert (good.path(0), good.labels.tolist()) == (str(folder / "pictures"), [1, 0])
    assert good.frames is not None
    assert good.frames.tolist() == [3, 9]


def test_shards(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    with tarfile.open(tmp_path / "shards" / "000000.tar", "w") as tar:
        for number, name in enumerate(["a/0.mp4", "b/none.mp4", "b/2.mp4"]):
            tar.add(folder / name, f"{number:06}.mp4")
    report = scan(tmp_path / "shards", workers=0)
    assert (report.videos, report.frames, [video.row for video in report.bad]) == (3, 12, [1])
    assert [path.name for path in report.written] == ["scan.bad.csv", "scan.frames.npz"]
    videos = load_annotations(tmp_path / "shards")
    counts = counts_of_list(videos.source, "pyav")
    assert counts is not None
    assert [counts.of_video(videos.video(row)) for row in (0, 2)] == [9, 3]
    assert scan(tmp_path / "shards").decoded == 1


def test_remote_shards_need_a_folder_for_the_results(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADAMAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    with tarfile.open(tmp_path / "000000.tar", "w") as tar:
        tar.add(folder / "a/0.mp4", "0.mp4")
    remote = f"pipe:cat {tmp_path}/000000.tar"
    there = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match=r"pipe:.*: results cannot be written beside remote shards; expected -o FOLDER"):
        scan(remote)
    assert sorted(path for path in tmp_path.iterdir() if path.name != "cache") == there
    assert scan(remote, out=tmp_path / "out").frames == 9
    assert counts_of_list(remote, "pyav") is None
    assert scan(remote, out=tmp_path / "out").decoded == 0


def test_folders_of_frames_are_known_by_their_parents_too(tmp_path: Path) -> None:
    """Two folders of one name, size and time, as archives with fixed times give them; the frames of one are broken."""
    for parent in ("run", "walk"):
        place = tmp_path / parent / "0001"
        place.mkdir(parents=True)
        for number in (1, 2):
            Image.new("RGB", (8, 8)).save(place / f"img_{number}.png")
        if parent == "walk":
            (place / "img_1.png").write_bytes(b"no image")
        os.utime(place, (10**9, 10**9))
    (tmp_path / "train.csv").write_text("run/0001 2 0\nwalk/0001 2 1\n")
    for _ in range(2):
        assert [video.row for video in scan(tmp_path / "train.csv").bad] == [1]


def test_a_folder_of_videos(folder: Path) -> None:
    (folder / "list.csv").unlink()
    report = scan(folder)
    assert [(Path(video.path).name, video.is_cut_off) for video in report.bad] == [
        ("cut.mkv", True),
        ("none.mp4", False),
    ]
    assert "2 bad, of which 1 cut off\n" in report.render()
    assert (report.as_dict()["cut_off"], report.as_dict()["bad"][0]["cut_off"]) == (1, True)
    good = load_annotations(folder / "scan.good.csv")
    assert [good.names[row] for row in range(len(good))] == ["a/0.mp4", "a/two words.mp4", "b/2.mp4"]
    assert good.classes == ("a", "b")
    assert counts_of_list(folder, "pyav") is not None


def test_damage_between_is_found_by_looking_at_every_frame(folder: Path) -> None:
    path = encode(folder / "a" / "0.mp4", 9, codec="mjpeg")
    looked_at = {0, 8, int(sample_generator(0, 0, 0).integers(9)), int(sample_generator(0, 0, 5).integers(9))}
    damaged = min(set(range(9)) - looked_at)
    with av.open(str(path)) as container:
        packet = next(islice(container.demux(video=0), damaged, None))
        place, size = packet.pos, packet.size
    content = bytearray(path.read_bytes())
    content[place : place + size] = bytes(size)
    path.write_bytes(content)
    assert scan(folder / "list.csv").damaged == ()
    report = scan(folder / "list.csv", full=True)
    assert [video.row for video in report.bad] == [3, 4]
    assert [(video.row, video.path, video.packets) for video in report.damaged] == [
        (0, str(path), 1),
        (5, str(path), 1),
    ]
    assert f"2  good videos are damaged but readable, for example {path}: 1 damaged packet skipped" in report.render()
    # What is known from before is told again.
    again = scan(folder / "list.csv", full=True)
    assert (again.decoded, again.damaged) == (2, report.damaged)
    assert again.as_dict()["damaged"][0] == {"row": 0, "path": str(path), "packets": 1}


@pytest.mark.parametrize("full", [False, True])
def test_decoders_count_alike(folder: Path, full: bool, tmp_path: Path) -> None:
    pytest.importorskip("decord")
    one = scan(folder / "list.csv", full=full, out=tmp_path / "pyav")
    other = scan(folder / "list.csv", full=full, out=tmp_path / "decord", decoder="decord")
    assert one.frames == other.frames


@pytest.mark.slow
def test_a_video_that_hangs(folder: Path) -> None:
    (folder / "b" / "none.mp4").unlink()
    os.mkfifo(folder / "b" / "none.mp4")
    report = scan(folder / "list.csv", workers=1, video_timeout=3.0)
    assert [(video.row, video.reason) for video in report.bad] == [
        (3, "no such file"),
        (4, "took longer than 3 seconds"),
    ]


@pytest.mark.filterwarnings("ignore:worker processes were killed")
def test_a_video_whose_process_the_system_kills_is_looked_at_again(folder: Path, tmp_path: Path) -> None:
    undisturbed = scan(folder / "list.csv", out=tmp_path / "undisturbed")
    with killed_at(folder / "a" / "two words.mp4", 2) as killed:
        report = scan(folder / "list.csv", workers=1)
    assert len(killed) == 2
    assert [video.row for video in report.bad] == [3, 4]
    assert (report.frames, results(folder)["list.good.csv"].count(b"\n")) == (undisturbed.frames, 5)


@pytest.mark.filterwarnings("ignore:worker processes were killed")
def test_a_video_whose_process_the_system_kills_each_time_is_bad(folder: Path) -> None:
    with killed_at(folder / "a" / "two words.mp4", 3):
        report = scan(folder / "list.csv", workers=1)
    assert [video.row for video in report.bad] == [1, 3, 4]
    assert report.bad[0].reason.startswith("the process that read it ended (SIGKILL")


def test_counts_that_are_none(folder: Path) -> None:
    (folder / "list.frames.npz").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"list\.frames\.npz: not a frame count file of adamae scan"):
        scan(folder / "list.csv")


def test_half_a_million_counts_are_small(tmp_path: Path, rng: np.random.Generator) -> None:
    keys = np.unique(rng.integers(0, 2**63, 500_000, dtype=np.uint64) * np.uint64(2) + np.uint64(1))
    counts = FrameCounts(keys, np.arange(len(keys), dtype=np.uint32), np.zeros(len(keys), np.uint32), "pyav", False)
    content = counts.packed()
    assert len(content) < 7e6
    (tmp_path / "x.frames.npz").write_bytes(content)
    loaded = FrameCounts.load(tmp_path / "x.frames.npz")
    assert loaded is not None
    for place in rng.integers(0, len(keys), 100).tolist():
        assert loaded.find(int(keys[place])) == place
        assert loaded.find(int(keys[place]) - 1) is None


def test_a_video_is_known_by_its_end_of_path_size_and_time(folder: Path, tmp_path: Path) -> None:
    path = folder / "a" / "0.mp4"
    key = video_key(str(path))
    shutil.copytree(folder, tmp_path / "moved", copy_function=shutil.copy2)
    assert video_key(str(tmp_path / "moved" / "a" / "0.mp4")) == key
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    assert video_key(str(path)) != key


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from adamae.cli.main import main

    assert main(["scan", str(folder / "list.csv"), "--workers", "0"]) == 0
    assert "6 videos: 4 good" in capsys.readouterr().out
    assert main(["scan", str(folder / "list.csv"), "--workers", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["good"] == 4
    for words, message in (
        (["nowhere.csv"], "nowhere.csv: no such list or folder"),
        ([str(folder / "list.csv"), "--video_timeout", "-1"], "expected a number at least 0"),
        ([str(folder / "list.csv"), "-o", str(folder / "list.csv")], "list.csv: cannot be written"),
    ):
        assert main(["scan", *words]) == 2
        told = capsys.readouterr().err
        assert message in told
        assert told.count("\n") == 1
