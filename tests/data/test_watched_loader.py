"""Videos that hang or crash whoever opens them: the stream goes on, and nothing but their own place in it changes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from itertools import islice
from multiprocessing import popen_fork
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adamae.data import killed_workers, watched_loader
from adamae.data.annotations import Annotations, load_annotations
from adamae.data.augmentation import Box, CropPlan
from adamae.data.batch import Batch
from adamae.data.dataset import PretrainDataset
from adamae.data.decoding import DecodedFrame, DecodeError, VideoReader
from adamae.data.decoding.protocol import ConvertedFrame
from adamae.data.frame_indices import train_segments
from adamae.data.loader import build_loader
from adamae.data.views import VideoViews, plan_test
from adamae.data.watch import QuarantineError, Watch, describe_exit
from adamae.errors import UserError
from adamae.evaluation.view_loader import load_groups
from tests.data.test_loader import children, same

WRONG = 4


class Fault:
    """What happens to whoever opens the one wrong video; leaves a line in a file each time."""

    def __init__(self, kind: str, diary: Path) -> None:
        self.kind = kind
        self.diary = diary

    def __call__(self) -> None:
        with self.diary.open("a") as file:
            file.write(f"{os.getpid()}\n")
        if self.kind == "unreadable":
            raise DecodeError("wrong.mp4", "not a video")
        if self.kind == "exit":
            os._exit(1)
        if self.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "deaf":  # in a library's code, where no alarm is heard
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        time.sleep(1000)

    @property
    def times(self) -> int:
        return len(self.diary.read_text().splitlines())


class NumberedFrames:
    """A reader of made-up frames."""

    num_frames = 9
    fps = 10.0
    damaged = 0

    def __init__(self, row: int) -> None:
        self._frames = np.random.default_rng(row).integers(0, 256, (9, 16, 20, 3), dtype=np.uint8)

    def read(self, indices: Any) -> np.ndarray:
        return self._frames[indices]

    def frames(self, wanted: Any) -> Iterator[tuple[int, DecodedFrame]]:
        return enumerate(map(ConvertedFrame, self.read(wanted)))

    def close(self) -> None:
        pass

    def __enter__(self) -> NumberedFrames:
        return self

    def __exit__(self, *raised: object) -> None:
        pass


def open_row(row: int, fault: Fault) -> VideoReader:
    if row == WRONG:
        fault()
    return NumberedFrames(row)


LIST = Annotations.of([f"{row}.mp4" for row in range(9)], np.arange(9), source="list")


class WholeFrames:
    def plan(self, height: int, width: int, rng: np.random.Generator) -> CropPlan:
        return CropPlan(Box(0, 0, height, width), height, width)


class Clips(PretrainDataset):
    def __init__(self, fault: Fault, **options: Any) -> None:
        super().__init__(LIST, choose_frames=self._choose, transform=WholeFrames(), **options)
        self.fault = fault

    @staticmethod
    def _choose(num_frames: int, *, rng: np.random.Generator) -> np.ndarray:
        return train_segments(num_frames, 3, rng)

    def open(self, row: int) -> VideoReader:
        return open_row(row, self.fault)


class Views(VideoViews):
    def __init__(self, fault: Fault, **options: Any) -> None:
        super().__init__(LIST, plan_test(num_frames=2, sampling_rate=1, size=16), **options)
        self.fault = fault

    def open(self, row: int) -> VideoReader:
        return open_row(row, self.fault)


REASONS = {
    "exit": r"ended the process that read it (exit code 1)",
    "kill": r"ended the process that read it (SIGKILL, as sent by the system when memory runs out)",
    "sleep": "took longer than 0.5 seconds (--video_timeout)",
    "deaf": "took longer than 0.5 seconds (--video_timeout)",
}
# How often each is opened before it is put in quarantine: what the system kills is tried again.
TRIES = {"exit": 1, "kill": 3, "sleep": 1, "deaf": 1}
KILLED = pytest.mark.filterwarnings("ignore:loader workers were killed")
FAULTS = pytest.mark.parametrize(("kind", "workers"), [("sleep", 0), *((kind, 2) for kind in REASONS)])


@pytest.fixture
def unreadable(tmp_path: Path) -> list[Batch]:
    """Three epochs with a video that is merely unreadable."""
    dataset = Clips(Fault("unreadable", tmp_path / "unreadable"))
    return list(islice(build_loader(dataset, batch_size=2), 12))


def without_reasons(batch: Batch) -> Batch:
    return batch | {"bad": [entry["index"] for entry in batch["bad"]]}


@KILLED
@FAULTS
def test_a_fault_changes_no_more_than_an_unreadable_file(
    kind: str, workers: int, unreadable: list[Batch], tmp_path: Path
) -> None:
    dataset = Clips(Fault(kind, tmp_path / kind), video_timeout=0.5)
    others = set(children())
    stream: Iterator[Batch] = iter(build_loader(dataset, batch_size=2, num_workers=workers))
    got = list(islice(stream, 12))
    for one, expected in zip(got, unreadable, strict=True):
        assert same(without_reasons(one), without_reasons(expected))
    bad = [entry for batch in got for entry in batch["bad"]]
    assert bad
    assert all(entry["quarantined"] and entry["reason"] == REASONS[kind] for entry in bad)
    # Two workers may be at the same row of two epochs; nobody opens it after that.
    assert TRIES[kind] <= dataset.fault.times <= TRIES[kind] * max(workers, 1)
    del stream
    assert set(children()) <= others


@pytest.mark.slow
@KILLED
@FAULTS
def test_every_video_has_its_views_or_a_reason_once(kind: str, workers: int, tmp_path: Path) -> None:
    dataset = Views(Fault(kind, tmp_path / kind), video_timeout=0.5)
    groups = [[0, 1, 2, 3], [4, 5, 6, 7], [8]]
    videos = [video for group in load_groups(dataset, groups, num_workers=workers) for video in group]
    assert [video["row"] for video in videos] == list(range(9))
    assert [video["row"] for video in videos if "views" not in video] == [WRONG]
    assert videos[WRONG]["reason"] == REASONS[kind]
    assert torch.equal(videos[5]["views"], dataset[5]["views"])
    assert dataset.fault.times == TRIES[kind]
    # A second look at the same list, as in the next validation.
    again = [video for group in load_groups(dataset, groups, num_workers=workers) for video in group]
    assert again[WRONG]["reason"] == REASONS[kind]
    assert dataset.fault.times == TRIES[kind]


@KILLED
def test_a_worker_that_is_killed_while_idle_costs_nothing(unreadable: list[Batch], tmp_path: Path) -> None:
    dataset = Clips(Fault("unreadable", tmp_path / "other"))
    others = set(children())
    stream = iter(build_loader(dataset, batch_size=2, num_workers=2))
    got = list(islice(stream, 1))
    time.sleep(0.5)  # what is made ahead is made
    for worker in set(children()) - others:
        os.kill(worker, signal.SIGKILL)
    got += list(islice(stream, 11))
    assert all(map(same, got, unreadable))


@KILLED
def test_workers_whose_files_close_before_the_system_knows_how_they_ended(
    unreadable: list[Batch], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A moment that every killed process passes through; here it lasts until somebody waits for the process."""
    asked = popen_fork.Popen.poll

    def know_late(process: popen_fork.Popen, flag: int = os.WNOHANG) -> int | None:
        return None if flag == os.WNOHANG and process.returncode is None else asked(process, flag)

    monkeypatch.setattr(popen_fork.Popen, "poll", know_late)
    test_a_worker_that_is_killed_while_idle_costs_nothing(unreadable, tmp_path)


class Memory:
    """The system's killer where memory is short: it takes whoever opens a video, whichever that is.

    Args:
        diary: A file to write down victims in.
        once: Rows at which it happens, once each; None: at all of them, always.
    """

    def __init__(self, diary: Path, once: set[int] | None = None) -> None:
        self.diary = diary
        self.once = once
        diary.touch()

    def open(self, row: int) -> VideoReader:
        if self.once is None or (row in self.once and row not in self.victims):
            with self.diary.open("a") as file:
                file.write(f"{row}\n")
            os.kill(os.getpid(), signal.SIGKILL)
        return NumberedFrames(row)

    @property
    def victims(self) -> list[int]:
        return [int(line) for line in self.diary.read_text().splitlines()]


class ShortClips(Clips):
    def __init__(self, memory: Memory, **options: Any) -> None:
        super().__init__(Fault("none", memory.diary), **options)
        self.memory = memory

    def open(self, row: int) -> VideoReader:
        return self.memory.open(row)


class ShortViews(Views):
    def __init__(self, memory: Memory, **options: Any) -> None:
        super().__init__(Fault("none", memory.diary), **options)
        self.memory = memory

    def open(self, row: int) -> VideoReader:
        return self.memory.open(row)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that are gone are missed at once."""
    monkeypatch.setattr(watched_loader, "_POLL_SECONDS", 0.05)


@KILLED
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("workers", [1, 2])
def test_videos_at_which_the_system_killed_a_worker_are_read_again(workers: int, tmp_path: Path) -> None:
    undisturbed = list(islice(build_loader(ShortClips(Memory(tmp_path / "none", set())), batch_size=2), 12))
    memory = Memory(tmp_path / "killed", {1, 3, WRONG, 6})
    got = list(islice(build_loader(ShortClips(memory), batch_size=2, num_workers=workers), 12))
    assert set(memory.victims) == memory.once
    assert all(map(same, got, undisturbed))
    assert not [entry for batch in got for entry in batch["bad"]]


@KILLED
@pytest.mark.usefixtures("quick")
def test_views_at_which_the_system_killed_a_worker_are_read_again(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "killed", {0, 5, 8})
    groups = [[0, 1, 2, 3], [4, 5, 6, 7], [8]]
    videos = [video for group in load_groups(ShortViews(memory), groups, num_workers=2) for video in group]
    assert set(memory.victims) == memory.once
    assert [video["row"] for video in videos if "views" in video] == list(range(9))


@pytest.mark.slow
@KILLED
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("kind", ["clips", "views"])
def test_where_memory_is_short_the_run_ends_and_says_so(kind: str, workers: int, tmp_path: Path) -> None:
    """It used to put one innocent video after another in quarantine until sixteen in a row "cannot be read"."""
    memory = Memory(tmp_path / "killed")
    others = set(children())
    stream = (
        iter(build_loader(ShortClips(memory), batch_size=2, num_workers=workers))
        if kind == "clips"
        else load_groups(ShortViews(memory), [[0, 1, 2], [3, 4, 5]], num_workers=workers)
    )
    expected = (
        r"^\d+ loader workers were killed by the system in short succession, probably because memory ran out; "
        r"a smaller --num_workers or --batch_size helps, or more memory: RAM, and /dev/shm .*$"
    )
    with pytest.raises(UserError, match=expected) as raised:
        next(stream)
    assert 7 <= int(str(raised.value).split()[0]) <= len(memory.victims)
    assert set(children()) <= others


@pytest.mark.usefixtures("quick")
def test_a_worker_that_we_kill_ourselves_is_not_the_system_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(killed_workers, "_MOST_KILLS", 0)
    stream = iter(build_loader(Clips(Fault("deaf", tmp_path / "deaf"), video_timeout=0.3), batch_size=9, num_workers=1))
    assert {entry["reason"] for entry in next(stream)["bad"]} == {REASONS["deaf"].replace("0.5", "0.3")}


class EndsBeforeAnyVideo(Clips):
    def __getitem__(self, key: tuple[int, int]) -> Any:
        os._exit(3)


def test_workers_that_always_end_end_the_run_in_one_line(tmp_path: Path) -> None:
    dataset = EndsBeforeAnyVideo(Fault("unreadable", tmp_path / "diary"))
    with pytest.raises(
        UserError,
        match=r"ended 4 times in a row although none was reading a file \(exit code "
        r"3\)",
    ) as raised:
        next(iter(build_loader(dataset, batch_size=2, num_workers=1)))
    assert "\n" not in str(raised.value)


class Defect(Clips):
    def __getitem__(self, key: tuple[int, int]) -> Any:
        raise RuntimeError("our own defect")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_defect_stays_one(workers: int, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="our own defect"):
        next(iter(build_loader(Defect(Fault("exit", tmp_path)), batch_size=2, num_workers=workers)))


def test_torch_does_not_interrupt_the_main_thread_when_a_worker_ends(videos: Path, tmp_path: Path) -> None:
    stream = iter(build_loader(Clips(Fault("unreadable", tmp_path / "diary")), batch_size=2, num_workers=1))
    next(stream)
    assert signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL


def test_a_real_video_that_never_ends(videos: Path, tmp_path: Path) -> None:
    """A pipe into which nobody writes stands for a file system that has gone away."""
    from adamae.data.dataset import pretrain_dataset

    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "whole.mp4").symlink_to(videos / "a" / "0.mp4")
    dataset = pretrain_dataset(load_annotations(tmp_path), num_frames=2, sampling_rate=1, size=32, video_timeout=0.4)
    batch = next(iter(build_loader(dataset, batch_size=2, num_workers=1)))
    assert batch["index"].tolist() == [1, 1]
    assert {entry["index"] for entry in batch["bad"]} == {0}


def test_marks_that_came_from_elsewhere() -> None:
    watch = Watch(3, limit=2)
    watch.too_long(1)
    watch.quarantine([1, 2])
    with watch.over(0, "0.mp4"):
        pass
    for row, reason in ((1, "took longer than 2 seconds"), (2, "quarantined earlier in this run")):
        with pytest.raises(QuarantineError, match=reason), watch.over(row, f"{row}.mp4"):
            raise AssertionError("opened")


def test_the_alarm_leaves_no_trace() -> None:
    before = signal.getsignal(signal.SIGALRM)
    watch = Watch(2, limit=0.2)
    with watch.over(0, "0.mp4"):
        pass
    with pytest.raises(QuarantineError), watch.over(1, "1.mp4"):
        time.sleep(5)
    assert signal.getsignal(signal.SIGALRM) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_limit_that_is_over_at_once_does_not_stop_the_process() -> None:
    watch, begun = Watch(1, limit=1e-156), time.monotonic()
    with pytest.raises(QuarantineError, match="took longer than 1e-156 seconds"), watch.over(0, "a.mp4"):
        time.sleep(60)
    assert time.monotonic() - begun < 30


def test_a_limit_that_is_none() -> None:
    with pytest.raises(UserError, match="the time limit per file is -1 seconds, expected 0 or more"):
        Watch(1, limit=-1)


@pytest.mark.parametrize(("code", "words"), [(3, "exit code 3"), (-11, "SIGSEGV"), (-200, "signal 200")])
def test_exit_codes_in_words(code: int, words: str) -> None:
    assert describe_exit(code) == words
