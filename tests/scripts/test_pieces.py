"""Pieces of an experiment: done once, by the same command, and stopped when asked."""

from __future__ import annotations

import importlib
import json
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

# A program for the tests: any script by its path.
SCRIPT = """import sys, time
if "wait" in sys.argv:
    print("begun", file=sys.stderr, flush=True)
    time.sleep(60)
print('{"number": 3}')
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture
def script() -> ModuleType:
    return importlib.import_module("pieces")


@pytest.fixture
def program(tmp_path: Path) -> str:
    (tmp_path / "program.py").write_text(SCRIPT)
    return str(tmp_path / "program.py")


def test_a_finished_piece_is_not_run_again(script: ModuleType, tmp_path: Path, program: str) -> None:
    read: list[str] = []

    def reader(output: str) -> Any:
        read.append(output)
        return json.loads(output)

    done = script.Pieces(tmp_path).make("one", [program, "0"], reader)
    assert done["number"] == 3
    assert done["command"] == [program, "0"]
    assert {"date", "commit", "machine", "seconds", "cpu_seconds"} <= done.keys()
    assert script.Pieces(tmp_path).make("one", [program, "0"], reader) == done
    assert len(read) == 1
    assert script.Pieces(tmp_path).result("other") is None


def test_seeds_are_those_of_finished_pieces_of_exactly_this_name(
    script: ModuleType, tmp_path: Path, program: str
) -> None:
    pieces = script.Pieces(tmp_path)
    for name in ("a-2", "a-30", "a-2-1", "ab-4"):
        pieces.make(name, [program, "0"], json.loads)
    assert (pieces.seeds("a"), pieces.seeds("a-2"), pieces.seeds("b")) == ([2, 30], [1], [])


def test_a_piece_of_another_command_is_not_taken(script: ModuleType, tmp_path: Path, program: str) -> None:
    script.Pieces(tmp_path).make("one", [program, "0"], json.loads)
    with pytest.raises(script.PieceError, match="another command"):
        script.Pieces(tmp_path).make("one", [program, "0", "more"], json.loads)


def test_a_failed_piece_leaves_no_result(script: ModuleType, tmp_path: Path, program: str) -> None:
    pieces = script.Pieces(tmp_path)
    with pytest.raises(script.PieceError, match=r"one: exit code 7; see .*one\.txt"):
        pieces.make("one", [program, "7"], json.loads)
    assert pieces.result("one") is None


def test_nothing_is_begun_after_the_deadline(script: ModuleType, tmp_path: Path, program: str) -> None:
    pieces = script.Pieces(tmp_path, deadline=time.monotonic() - 1)
    with pytest.raises(script.StoppedError):
        pieces.make("one", [program, "0"], json.loads)


def test_stopping_ends_what_runs_and_begins_nothing(script: ModuleType, tmp_path: Path, program: str) -> None:
    pieces = script.Pieces(tmp_path)
    log = tmp_path / "logs" / "one.txt"

    def stop_when_begun() -> None:
        while not log.exists() or "begun" not in log.read_text():
            time.sleep(0.01)
        pieces.stop()

    thread = threading.Thread(target=stop_when_begun)
    thread.start()
    with pytest.raises(script.StoppedError):
        pieces.make("one", [program, "0", "wait"], json.loads)
    thread.join()
    assert pieces.result("one") is None
    with pytest.raises(script.StoppedError):
        pieces.make("two", [program, "0"], json.loads)
