from __future__ import annotations

import errno
import io
import itertools
import math
import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from adamae.distributed import World
from adamae.errors import UserError
from adamae.training.metrics import MetricAverager
from adamae.training.progress_bar import ProgressReport
from adamae.training.run_logger import RunLogger, StepLines


def test_lines_round_trip_exactly_and_nan_is_null(tmp_path: Path) -> None:
    lines = StepLines(tmp_path / "log.jsonl")
    lines.append([{"step": 1, "loss": 0.1 + 0.2}, {"step": 2, "loss": math.nan, "lr": math.inf}])
    assert lines.read() == [{"step": 1, "loss": 0.1 + 0.2}, {"step": 2, "loss": None, "lr": None}]


def test_rewinding(tmp_path: Path) -> None:
    lines = StepLines(tmp_path / "log.jsonl")
    lines.rewind(3)
    assert not lines.path.exists()
    lines.append([{"step": step} for step in range(1, 6)])
    lines.append([{"step": 3, "partial": True}])
    with lines.path.open("a") as file:
        file.write('{"step": 2, "lo')
    lines.rewind(3, run_continues=False)
    assert [line["step"] for line in lines.read()] == [1, 2, 3, 3]
    lines.rewind(3)
    assert [line["step"] for line in lines.read()] == [1, 2, 3]
    lines.rewind(0)
    assert lines.path.read_text() == ""
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


@pytest.mark.parametrize("failure", [errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("name", ["log.jsonl", "bad_videos.jsonl"])
def test_a_log_that_cannot_be_rewritten_is_one_line_with_its_name(
    name: str, failure: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = '{"step": 1}\n{"step": 2}\n'
    (tmp_path / name).write_text(text)

    def fail(path: Path) -> None:
        raise OSError(failure, os.strerror(failure))

    monkeypatch.setattr("adamae.files.flush", fail)
    with pytest.raises(UserError, match=rf"{tmp_path}/{name}: cannot be written: {os.strerror(failure)}"):
        RunLogger(tmp_path).rewind(1)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == text


def test_a_log_that_cannot_be_read_is_one_line_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(UserError, match=rf"{tmp_path}/log\.jsonl: cannot be read: Is a directory"):
        RunLogger(tmp_path).rewind(1)


def test_an_output_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UserError, match=r"--output_dir .*out: cannot be written"):
        RunLogger(tmp_path / "out")


def test_tensorboard_is_opened_only_when_wanted(tmp_path: Path) -> None:
    without = RunLogger(tmp_path / "a")
    without.write({"kind": "step", "step": 1, "epoch": 0, "loss": 1.0})
    assert without.tensorboard is None
    logger = RunLogger(tmp_path / "b", tensorboard=tmp_path / "b/tensorboard")
    assert not (tmp_path / "b/tensorboard").exists()
    logger.write({"kind": "step", "step": 1, "epoch": 0, "loss": 1.0})
    logger.flush()
    logger.close()
    assert len(list((tmp_path / "b/tensorboard").iterdir())) == 1


@pytest.mark.parametrize("records", [0, 3])
def test_event_files_that_cannot_be_written_are_one_line_without_a_traceback(
    records: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The disk is full at once, or after some records."""
    count = itertools.count()

    def full(*_: object) -> None:
        if next(count) >= records:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tensorboard.summary.writer.record_writer.RecordWriter.write", full)
    logger = RunLogger(tmp_path, tensorboard=tmp_path / "tensorboard")
    usual = threading.excepthook
    with pytest.raises(UserError, match=r"/tensorboard: TensorBoard's event files .*: No space left on device"):
        for step in range(100):
            logger.write({"kind": "step", "step": step, "epoch": 0, "loss": 1.0})
            logger.flush()
    with suppress(UserError):
        logger.close()
    assert threading.excepthook is usual
    assert capfd.readouterr().err == ""


def test_a_folder_that_tensorboard_cannot_name_is_said_at_the_start(tmp_path: Path) -> None:
    directory = tmp_path / os.fsdecode(b"\xff")
    with pytest.raises(UserError, match="TensorBoard cannot write there: expected a name in UTF-8 for --output_dir"):
        RunLogger(directory, tensorboard=directory / "tensorboard")
    assert not directory.exists()
    RunLogger(directory)


def test_the_meter_averages_what_is_finite_and_counts_what_was_skipped() -> None:
    meter = MetricAverager(World())
    skips = [0, 1, 1, 0, 1]
    for step, (loss, skipped) in enumerate(zip([1.0, math.nan, 3.0, 5.0, math.inf], skips, strict=True), start=1):
        watched = {"watched": torch.tensor(7.0)} if step == 4 else {}
        meter.add(step, {"loss": torch.tensor(loss), "skipped": torch.tensor(float(skipped)), **watched})
        if step == 2:
            assert list(meter.read()) == [2]
    assert meter.read().keys() == {3, 5}
    assert meter.interval.means() == {"loss": 3.0, "watched": 7.0}
    assert (meter.skipped, meter.skipped_in_a_row) == (3, 1)
    other = MetricAverager(World())
    other.load(meter.state())
    assert other.state() == meter.state()


def test_plain_lines_where_nobody_watches() -> None:
    stream = io.StringIO()
    with ProgressReport(100, 10, stream=stream, seconds=0.0) as progress:
        progress.advance(20)
        progress.show({"loss": 0.5, "clips_per_second": 12.0, "lr": 1e-3})
        progress.advance(25)
    first, last = stream.getvalue().splitlines()
    assert first == "step 20/100  loss 0.5000  12.0 clips/s  0:00 left"
    assert last == first.replace("20/", "25/")


def test_the_trivial_predictor_stands_beside_the_loss() -> None:
    stream = io.StringIO()
    with ProgressReport(100, stream=stream, seconds=0.0) as progress:
        progress.advance(20)
        progress.show({"sampling": 0.1, "trivial": 0.0056, "reconstruction": 0.0057, "loss": 0.0058})
    line = stream.getvalue().partition("  ")[2]
    assert line.startswith("loss 0.0058  reconstruction 0.0057  trivial 0.0056  sampling 0.100")


def test_a_step_is_told_once() -> None:
    stream = io.StringIO()
    with ProgressReport(20, 10, stream=stream, seconds=0.0) as progress:
        progress.advance(20)
        progress.show({"loss": 0.5})
    assert len(stream.getvalue().splitlines()) == 1


def test_silence() -> None:
    stream = io.StringIO()
    with ProgressReport(100, silent=True, stream=stream, seconds=0.0) as progress:
        progress.advance(20)
        progress.show({"loss": 0.5})
    assert stream.getvalue() == ""


@pytest.mark.parametrize("columns", [80, 200])
def test_a_bar_where_somebody_does(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    values = {"loss": 0.5, "reconstruction": 0.25, "trivial": 0.75, "sampling": 0.125, "clips_per_second": 9.0}
    with ProgressReport(100000, stream=stream) as progress:
        progress.advance(40000)
        progress.show(values)
    # Nothing loses its end, however narrow the terminal is.
    told = ("40000/100000", "loss 0.5000", "reconstruction 0.2500", "trivial 0.7500", "sampling 0.125", "9.0 clips/s")
    assert [text for text in told if text not in stream.getvalue()] == []
