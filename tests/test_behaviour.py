"""The recorder of behaviour covers every command, and its comparer finds what was changed."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adamae.cli.main import COMMANDS as OF_THE_PROGRAM
from tests.behaviour.__main__ import main
from tests.behaviour.comparing import differences
from tests.behaviour.lines import COMMANDS, LINES, SUBJECTS
from tests.behaviour.recording import needed
from tests.behaviour.texts import normal_lines, normal_value

# One worker makes the recording.
pytestmark = pytest.mark.xdist_group("behaviour")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """What two short lines do, recorded in a process that has imported nothing of ours."""
    out = tmp_path_factory.mktemp("behaviour") / "before.json"
    subprocess.run(
        [sys.executable, "-m", "tests.behaviour", "record", str(out), "--only", "^(convert-reference|synthesize)$"],
        cwd=root,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
        timeout=240,
    )
    return out


def changed(recording: Path, change: Callable[[dict[str, Any]], None]) -> list[tuple[str, str]]:
    """Kind and place of what the comparer finds after a change of the lines."""
    before = json.loads(recording.read_text())
    after = copy.deepcopy(before)
    change(after["lines"])
    return [(found.kind, found.place) for found in differences(before, after)]


def test_every_command_and_subject_has_a_line() -> None:
    assert set(COMMANDS) == OF_THE_PROGRAM.keys()
    run = {tuple(line.split()[:2]) for name, lines in LINES.items() if name != "help" for line in lines}
    first = {words[1] if words[0].startswith("[") else words[0] for words in run if words}
    assert set(COMMANDS) <= first
    assert {("bench", subject) for subject in SUBJECTS} <= run
    assert {f"{name} --help" for name in COMMANDS} <= set(LINES["help"])


def test_what_a_line_reads_runs_before_it() -> None:
    assert needed("^finetune-eval$") == ["synthesize", "pretrain", "finetune", "finetune-eval"]
    order = needed("")
    assert sorted(order) == sorted(LINES)


@pytest.mark.slow
def test_a_recording_has_exit_codes_files_and_numbers(recording: Path) -> None:
    lines = json.loads(recording.read_text())["lines"]
    assert list(lines) == ["synthesize", "pretrain", "convert-reference"]
    assert [step["exit"] for line in lines.values() for step in line["steps"]] == [0, 0, 0]
    assert lines["synthesize"]["files"]["set/classes.txt"] == {"lines": ["left", "right", "up"]}
    tensor = lines["pretrain"]["files"]["run/checkpoints/step-00000008/model.safetensors"]["tensors"]["mask_token"]
    assert tensor["shape"] == [1, 1, 16]
    assert tensor["norm"] > 0
    assert lines["pretrain"]["files"]["run/log.jsonl"]["jsonl"][0]["seconds"] == "<volatile>"


def test_an_injected_difference_is_found(recording: Path) -> None:
    log, weights = "run/log.jsonl", "run/checkpoints/step-00000008/model.safetensors"

    def loss(lines: Any) -> None:
        lines["pretrain"]["files"][log]["jsonl"][2]["loss"] *= 1.001

    def tensor(lines: Any) -> None:
        lines["pretrain"]["files"][weights]["tensors"]["mask_token"] |= {"norm": 0.5, "bits": "0"}

    def code(lines: Any) -> None:
        lines["convert-reference"]["steps"][0]["exit"] = 2

    def file(lines: Any) -> None:
        del lines["convert-reference"]["files"]["checkpoint-0.pth"]

    def told(lines: Any) -> None:
        text = lines["pretrain"]["steps"][0]["stderr"]["text"]
        text[:] = [line.replace("18 videos", "17 videos") for line in text]

    assert changed(recording, lambda lines: None) == []
    assert changed(recording, loss) == [("content", f"/files/{log}/jsonl/2/loss")]
    assert changed(recording, tensor) == [("content", f"/files/{weights}/tensors/mask_token")]
    assert changed(recording, code) == [("content", "/steps/0/exit")]
    assert changed(recording, file) == [("content", "/files/checkpoint-0.pth")]
    assert changed(recording, told) == [("content", "/steps/0/stderr/text"), ("words", "/steps/0/stderr/text")]
    assert changed(recording, lambda lines: lines.pop("pretrain")) == [("content", "line")]


def test_words_are_apart_and_rounding_is_near(recording: Path) -> None:
    def words(lines: Any) -> None:
        lines["pretrain"]["steps"][0]["stderr"]["text"].append("another sentence")

    def rounding(lines: Any) -> None:
        lines["pretrain"]["files"]["run/log.jsonl"]["jsonl"][2]["loss"] *= 1 + 1e-7

    assert changed(recording, words) == [("words", "/steps/0/stderr/text")]
    assert changed(recording, rounding) == [("near", "/files/run/log.jsonl/jsonl/2/loss")]


def test_the_exit_code_of_a_comparison(recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    after = json.loads(recording.read_text())
    after["lines"]["pretrain"]["steps"][0]["stderr"]["text"].append("another sentence")
    other = tmp_path / "after.json"
    other.write_text(json.dumps(after))
    assert main(["compare", str(recording), str(other)]) == 0
    assert "+another sentence" in capsys.readouterr().out
    assert main(["compare", str(recording), str(other), "--words"]) == 0
    assert "another sentence" not in capsys.readouterr().out
    after["lines"]["pretrain"]["steps"][0]["exit"] = 1
    other.write_text(json.dumps(after))
    assert main(["compare", str(recording), str(other), "--words"]) == 1
    assert "pretrain\n  content /steps/0/exit: 0 -> 1" in capsys.readouterr().out
    assert main(["compare", str(recording), str(other), "--except", "/exit$"]) == 0


def test_what_is_volatile_is_taken_out() -> None:
    text = "wrote /tmp/x/run/a.json in 3.25 s, 17.1 clips/s, 1.2 GB\n3 of 18 videos\n"
    places = {"/tmp/x": "<work>"}
    assert normal_lines(text, places) == ["wrote <work>/run/a.json in <n> s, <n> clips/s, <n> GB", "3 of 18 videos"]
    record = {"seconds": 1.5, "sampling_rate": 4, "clips_per_second": 3.0, "where": "/tmp/x/run", "hit_rate": 1.25}
    kept = {"sampling_rate": 4, "where": "<work>/run", "hit_rate": 1.25}
    gone = {"seconds": "<volatile>", "clips_per_second": "<volatile>"}
    assert normal_value(record, places) == kept | gone
