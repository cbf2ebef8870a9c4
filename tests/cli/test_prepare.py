"""``adamae prepare``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from adamae.cli.main import main
from adamae.data.preparation.problems import KINDS
from adamae.data.preparation.transcoding import Encoding
from adamae.flags import flags_of
from adamae.options.prepare import PreparedOptions
from tests.data.preparation.miniatures import SSV2, UCF101, encode

SMALL = "--short_side 32 --workers 0".split()


def test_a_data_set_is_prepared_and_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = SSV2.write(tmp_path / "download"), tmp_path / "ssv2"
    (source / "20bn-something-something-v2" / "12.webm").unlink()
    command = ["prepare", "ssv2", str(source), "-o", str(out), *SMALL]
    assert main(command) == 0
    told = capsys.readouterr().out
    assert f"{out}: 7 of 7 videos ready" in told
    assert "train.csv      3 videos" in told
    assert "1 x missing: a listed file that is not there" in told
    assert "something-something-v2-train.json:entry 2: no video 12 below" in told
    assert told.rstrip().endswith(f"all 1 of them: {out / 'report.json'}")
    assert told.splitlines()[:6] == (out / "report.txt").read_text().splitlines()[:6]
    report = json.loads((out / "report.json").read_text())
    assert report["classes"]["videos"]["Pushing something"] == {"train": 2, "val": 1, "test": 0}
    assert report["problems"][0]["place"].endswith("something-something-v2-train.json:entry 2")
    assert main([*command, "--crf", "30"]) == 2
    assert capsys.readouterr().err.endswith(
        "was started with crf = 20, got crf = 30: delete it, or choose another folder\n"
    )


def test_a_part_says_what_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = UCF101.write(tmp_path / "download"), tmp_path / "out"
    command = ["prepare", "ucf101", str(source), "-o", str(out), *SMALL]
    assert main([*command, "--part", "1/2"]) == 0
    told = capsys.readouterr().out
    assert "those of part 1/2 among them" in told
    assert "the part that ends last writes the lists" in told
    assert not (out / "train.csv").exists()
    assert main([*command, "--part", "2/2"]) == 0
    assert f"{out}: 6 of 6 videos ready\n" in capsys.readouterr().out
    assert (out / "train.csv").exists()


def test_lists_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = UCF101.write(tmp_path / "download"), tmp_path / "out"
    assert main(["prepare", "ucf101", str(source), "-o", str(out), "--no_transcode", "--paths", "absolute"]) == 0
    assert "no video was opened" in capsys.readouterr().out
    assert (out / "train.csv").read_text() == UCF101.rows("train", f"{source}/", None)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "the following arguments are required: LAYOUT, SRC, --out/-o"),
        (
            "ssv3 {root} -o {out}",
            "got 'ssv3', expected one of ssv2, k400, ucf101, hmdb51, imagenet, folder; did you mean ssv2?",
        ),
        ("folder {root}/none -o {out}", "no such folder"),
        ("folder {root} -o {out} --part 3/2", "--part: got '3/2', expected I/N with 1 <= I <= N, for example 2/8"),
        ("folder {root} -o {out} --part two", "--part: got 'two', expected I/N"),
        ("folder {root} -o {out} --short_side 255", "--short_side: got 255, expected an even number"),
        ("ucf101 {root} -o {out} --split 4", "got 4, expected an integer at least 1 and at most 3"),
        ("ucf101 {root} -o {out}", "no file classInd.txt below"),
        ("folder {root} -o {root}", "expected a new or empty folder"),
        ("folder {root} -o {root}/1.mp4", "expected a new or empty folder"),
    ],
)
def test_mistakes(words: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "1.mp4").write_bytes(b"x")
    assert main(["prepare", *words.format(root=tmp_path / "own", out=tmp_path / "out").split()]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_options_have_the_encoding_s_defaults() -> None:
    defaults = {option.name: option.default for option in flags_of(PreparedOptions)}
    for name in ("short_side", "gop", "crf"):
        assert defaults[name] == getattr(Encoding(), name)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_it_leaves_cleanly_and_goes_on(number: int, root: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "own", tmp_path / "out"
    for index in range(40):
        encode(source / f"{index}.mp4", 30, size=(160, 160))
    words = [sys.executable, "-m", "adamae", "prepare", "folder", str(source), "-o", str(out), "--workers", "1"]
    process = subprocess.Popen(words, cwd=root, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while process.poll() is None and len(list(out.rglob("videos/*.mp4"))) < 2:
        time.sleep(0.01)
    # As a terminal does it: to every process.
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 130
    *_, last = told.splitlines()
    assert last == f"adamae prepare: stopped; what is done in {out} is kept, run the same command to resume"
    assert "Traceback" not in told
    assert not (out / "train.csv").exists()
    assert main([*words[3:-1], "0"]) == 0
    assert len((out / "train.csv").read_text().splitlines()) == 40


def test_every_kind_of_problem_is_explained(root: Path) -> None:
    text = (root / "DATASET.md").read_text(encoding="utf-8")
    assert [kind for kind in KINDS if f"\n| `{kind}` | " not in text] == []
