"""Killed at any point and called again: the lists and videos of a call that was not; never half a video in place."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from adamae.data.decoding import DecodeError
from adamae.data.preparation.journal import Journal, Part, alone_at_the_end
from adamae.data.preparation.lists import Lists, write_lists
from adamae.data.preparation.prepare import _Task, prepare
from adamae.data.preparation.reencoding import Reencoding
from adamae.data.preparation.report import Report
from adamae.data.preparation.transcoding import Encoding
from adamae.data.workers import Failure
from adamae.errors import UserError
from adamae.file_locks import lock
from tests.data.killing import killed_at
from tests.data.preparation.miniatures import UCF101, encode

SMALL = Encoding(short_side=32, gop=4)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """UCF101 in miniature, with one broken video."""
    root = UCF101.write(tmp_path_factory.mktemp("download"))
    (root / "UCF-101/Biking/v_Biking_g01_c01.avi").write_bytes(b"no video" * 99)
    return root


def run(source: Path, out: Path, **options: object) -> Report:
    return prepare("ucf101", source, out, encoding=SMALL, **options)  # type: ignore[arg-type]


def results(out: Path) -> dict[str, bytes]:
    """Lists and videos; nothing else may be there but the journals and the manifest."""
    found = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    kept = {name: content for name, content in found.items() if name.endswith((".csv", ".mp4", "classes.txt"))}
    rest = {name for name in found.keys() - kept.keys() if not name.startswith(("journal-", "report"))}
    assert rest == {"prepare.json"}
    return kept


@pytest.fixture(scope="module")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a call that nothing interrupts makes."""
    out = tmp_path_factory.mktemp("whole") / "out"
    run(source, out)
    return results(out)


def die_at(event: int, work: Callable[[], object]) -> bool:
    """Run ``work`` in a child that is killed at its nth dealing with the file system; whether it was."""
    child = os.fork()
    if child == 0:
        left = event

        def count(name: str, _: object) -> None:
            nonlocal left
            if name not in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"):
                return
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL)
    return status != 0


@pytest.mark.slow
def test_killed_at_every_dealing_with_the_file_system(source: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    videos = {name: content for name, content in whole.items() if name.endswith(".mp4")}
    event = 1
    while True:
        out = tmp_path / str(event)
        killed = die_at(event, lambda out=out: run(source, out))  # type: ignore[misc]
        for path in (out / "videos").rglob("*.mp4"):
            assert path.read_bytes() == videos[path.relative_to(out).as_posix()], "a video that is not whole"
        if not killed:
            break
        run(source, out)
        assert results(out) == whole, f"killed at event {event}"
        shutil.rmtree(out)
        event += 1
    assert event > 40


def test_a_journal_that_was_cut_anywhere(source: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(source, out)
    journal = out / "journal-1of1.jsonl"
    raw = journal.read_bytes()
    for end in range(0, len(raw), 97):
        journal.write_bytes(raw[:end])
        run(source, out)
        assert results(out) == whole, f"cut after {end} bytes"


def test_what_is_done_is_not_done_again(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    run(source, out)
    done: list[str] = []

    def note(source: str, target: str, temporary: str, encoding: Encoding) -> Failure:
        done.append(source)
        raise ValueError("made nothing")

    monkeypatch.setattr("adamae.data.preparation.reencoding.transcode", note)
    assert run(source, out).done == 5
    assert done == []
    # A changed source, a result that is gone and one that was changed are made anew.
    copy = shutil.copytree(source, tmp_path / "copy")
    (out / "prepare.json").write_text((out / "prepare.json").read_text().replace(str(source), str(copy)))
    videos = out / "videos" / "UCF-101"
    (videos / "Archery" / "v_Archery_g01_c01.mp4").unlink()
    (videos / "Archery" / "v_Archery_g08_c01.mp4").write_bytes(b"other")
    os.utime(copy / "UCF-101/Archery/v_Archery_g08_c02.avi", ns=(0, 0))
    run(copy, out)
    assert sorted(Path(path).stem for path in done) == [
        f"v_Archery_{name}" for name in ("g01_c01", "g08_c01", "g08_c02")
    ]
    # Broken ones are tried again when that is asked for.
    done.clear()
    run(copy, out, retry=True)
    assert any("v_Biking_g01_c01" in path for path in done)


def test_parts_make_what_one_call_makes(source: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "out"
    for number in (3, 1):
        report = run(source, out, part=Part(number, 3))
        assert not report.complete
        assert not list(out.glob("*.csv"))
        assert (out / f"report-{number}of3.json").is_file()
    assert run(source, out, part=Part(2, 3)).complete
    assert results(out) == whole
    assert run(source, out).complete
    assert results(out) == whole
    videos = [(out / f"journal-{number}of3.jsonl").read_text().count("\n") for number in (1, 2, 3)]
    assert sum(videos) == len(UCF101.videos)
    assert max(videos) < len(UCF101.videos)


def test_other_options_are_refused(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(source, out, split=1)
    with pytest.raises(UserError, match=r"was started with short_side = 32, got short_side = 48: delete it, or choose"):
        prepare("ucf101", source, out, encoding=Encoding(short_side=48, gop=4))
    with pytest.raises(UserError, match="was started with split = 1, got split = 2"):
        run(source, out, split=2)
    with pytest.raises(UserError, match="was started with transcode = None, got transcode = False"):
        prepare("ucf101", source, out, encoding=None)
    with pytest.raises(UserError, match=r"contains no prepare\.json: expected a new or empty folder"):
        run(source, source)


def test_two_calls_do_not_do_the_same_work(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(source, out, part=Part(1, 2))
    with (
        Journal(out, Part(1, 2)),
        pytest.raises(UserError, match="another process works at part 1/2; wait until it ends"),
    ):
        run(source, out, part=Part(1, 2))
    assert run(source, out, part=Part(2, 2)).complete


def lose_all(source: Path, out: Path) -> tuple[Path, list[dict[str, Any]]]:
    """Leave what a call leaves in which all videos took too long: a journal of failures, and no video."""
    run(source, out)
    journal = out / "journal-1of1.jsonl"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    failed = [line | {"bytes": 0, "frames": 0, "reason": "took longer than 1 seconds", "lost": True} for line in lines]
    journal.write_text("".join(json.dumps(line) + "\n" for line in failed))
    shutil.rmtree(out / "videos")
    return journal, failed


def test_a_result_counts_whatever_older_lines_say(source: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    """The failures of the first call are in a journal that a later call without parts makes the newest."""
    out = tmp_path / "out"
    journal, failed = lose_all(source, out)
    for number in (1, 2):
        run(source, out, part=Part(number, 2))
    assert results(out) == whole
    with journal.open("a") as file:
        file.write(json.dumps(failed[0]) + "\n")
    newest = max(path.stat().st_mtime_ns for path in out.glob("journal-*"))
    os.utime(journal, ns=(newest + 1, newest + 1))
    assert run(source, out).done == 5
    assert results(out) == whole


def test_the_lists_wait_for_a_part_that_tries_again(source: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    """All videos are known, but another part is at work on those that failed: its files must stay."""
    out = tmp_path / "out"
    run(source, out)
    for path in out.glob("*.csv"):
        path.unlink()
    with Journal(out, Part(1, 2)):
        unfinished = out / ".unfinished" / "1of2" / "host-1-0.mp4"
        unfinished.parent.mkdir(parents=True)
        unfinished.write_bytes(b"half")
        report = run(source, out, part=Part(2, 2))
        assert not report.complete
        assert report.notes[-1].startswith("another part is in progress: the part that ends last writes the lists")
        assert unfinished.exists()
        assert not list(out.glob("*.csv"))
    assert run(source, out, part=Part(1, 2)).complete
    assert results(out) == whole


def test_the_part_that_writes_the_lists_last_knows_all_results(
    source: Path, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Part 2 begins and ends after part 1 has read the journals, and before part 1 writes the lists."""
    out = tmp_path / "out"
    lose_all(source, out)
    finish = _Task.finish

    def finish_late(task: _Task, work: Reencoding, part: Part) -> Report:
        monkeypatch.setattr(_Task, "finish", finish)
        run(source, out, part=Part(2, 2))
        return finish(task, work, part)

    monkeypatch.setattr(_Task, "finish", finish_late)
    assert run(source, out, part=Part(1, 2)).done == 5
    assert results(out) == whole


def test_the_files_of_a_part_in_progress_are_not_removed(source: Path, tmp_path: Path) -> None:
    work = Reencoding(source, tmp_path, [], SMALL)
    for part in ("1of2", "3of4"):
        (tmp_path / ".unfinished" / part).mkdir(parents=True)
        (tmp_path / ".unfinished" / part / "host-1-0.mp4").write_bytes(b"half")
    with Journal(tmp_path, Part(1, 2)):
        work.clean()
        assert [path.name for path in (tmp_path / ".unfinished").iterdir()] == ["1of2"]
        assert (tmp_path / ".unfinished" / "1of2" / "host-1-0.mp4").exists()
    work.clean()
    assert not (tmp_path / ".unfinished").exists()


def test_one_process_at_a_time_writes_the_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on NFS, which refuses an exclusive lock of what is not open for writing, such as a folder."""
    flock = fcntl.flock

    def flock_on_nfs(file: IO[bytes], kind: int) -> None:
        if kind & fcntl.LOCK_EX and fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        flock(file, kind)

    monkeypatch.setattr(fcntl, "flock", flock_on_nfs)
    manifest = tmp_path / "prepare.json"
    manifest.write_text("{}")
    with manifest.open("r+b") as other:
        with alone_at_the_end(manifest):
            assert not lock(other)
        assert lock(other)
    assert manifest.read_text() == "{}"


def test_lists_of_the_originals_are_written_alone(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    free = []

    def write(*args: Any) -> Lists:
        with (out / "prepare.json").open("r+b") as other:
            free.append(lock(other))
        return write_lists(*args)

    monkeypatch.setattr("adamae.data.preparation.prepare.write_lists", write)
    prepare("ucf101", source, out, encoding=None)
    assert free == [False]


def test_a_full_disk_is_one_line_and_the_next_call_goes_on(
    source: Path, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    replace, calls = os.replace, 0

    def full(before: str, after: str) -> None:
        nonlocal calls
        calls += str(after).endswith(".mp4")
        if calls == 3:
            raise OSError(28, "No space left on device", str(after))
        replace(before, after)

    with monkeypatch.context() as patched:
        patched.setattr("adamae.data.preparation.transcoding.os.replace", full)
        with pytest.raises(
            UserError, match=r"\.mp4: cannot be written \(No space left on device\); run the same command again"
        ) as raised:
            run(source, out)
    assert "\n" not in str(raised.value)
    assert len(list((out / "videos").rglob("*.mp4"))) == 2
    assert not list((out / ".unfinished").rglob("*.mp4"))
    run(source, out)
    assert results(out) == whole


def test_nothing_that_can_be_read(tmp_path: Path) -> None:
    source = UCF101.write(tmp_path / "download", lambda path, frames, codec: path.write_bytes(b"no video" * 99))
    with pytest.raises(UserError, match=r"none of 6 videos could be read; UCF-101/Archery/.*: not a readable video"):
        run(source, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.csv"))


@pytest.mark.slow
@pytest.mark.parametrize("lines", [0, 1, 4])
def test_killed_with_workers(lines: int, source: Path, whole: dict[str, bytes], root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["prepare", "ucf101", str(source), "-o", str(out), "--short_side", "32", "--gop", "4", "--workers", "2"]
    process = subprocess.Popen([sys.executable, "-m", "adamae", *words], cwd=root, start_new_session=True)
    journal = out / "journal-1of1.jsonl"
    while process.poll() is None and not (journal.exists() and journal.read_text().count("\n") >= lines):
        time.sleep(0.002)
    process.kill()
    process.wait()
    run(source, out)
    assert results(out) == whole


def test_a_video_that_takes_too_long_is_broken(tmp_path: Path) -> None:
    # So many frames that it is not done before this process, on a busy machine, looks at its time.
    encode(tmp_path / "own" / "1.mp4", 1000)
    with pytest.raises(UserError, match=r"1\.mp4: took longer than 0\.001 seconds"):
        prepare("folder", tmp_path / "own", tmp_path / "out", encoding=SMALL, workers=1, time_limit=0.001)


@pytest.mark.filterwarnings("ignore:worker processes were killed")
def test_a_video_whose_process_the_system_kills_is_made_again(tmp_path: Path) -> None:
    for name in ("1.mp4", "2.mp4"):
        encode(tmp_path / "own" / name, 4)
    with killed_at(tmp_path / "own" / "1.mp4", 2) as killed:
        report = prepare("folder", tmp_path / "own", tmp_path / "out", encoding=SMALL, workers=1)
    assert len(killed) == 2
    assert (report.done, len(list((tmp_path / "out").rglob("*.mp4")))) == (2, 2)


def test_a_lost_process_is_not_the_video_s_fault_for_ever(
    source: Path, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose_first(function: Callable[[object], object], jobs: Iterable[object], **_: object) -> Iterator[object]:
        for number, job in enumerate(jobs):
            yield job, function(job) if number else Failure("the process that read it ended (SIGKILL)")

    with monkeypatch.context() as patched:
        patched.setattr("adamae.data.preparation.reencoding.run_jobs", lose_first)
        patched.setattr(
            "adamae.data.preparation.reencoding.transcode", lambda *given: Failure("", DecodeError("", "no"))
        )
        with pytest.raises(UserError, match="none of 6 videos could be read"):
            run(source, tmp_path / "out")
    lines = (tmp_path / "out" / "journal-1of1.jsonl").read_text().splitlines()
    assert [json.loads(line)["lost"] for line in lines] == [True] + [False] * 5
    assert run(source, tmp_path / "out").done == 1
    run(source, tmp_path / "out", retry=True)
    assert results(tmp_path / "out") == whole
