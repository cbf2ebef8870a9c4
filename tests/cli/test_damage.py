"""One policy for damage in every command: cut off is refused, damaged packets are passed over with a note."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest

from adamae.cli.main import main
from adamae.data.annotations import load_annotations
from tests.cli.test_pretrain import pretrain
from tests.data.conftest import encode, places_of_packets, table_first
from tests.evaluation.tiny import write_classifier

SIZE = (32, 32)
CUT_OFF = "cut off: 20 of 280 frames are there"
LOST = "damaged: only 11 of 24 frames can be decoded"
SKIPPED = "1 damaged packet skipped"


def with_holes(source: Path, target: Path, numbers: range) -> None:
    """A copy of a video whose packets of some numbers are no pictures any more."""
    content = bytearray(source.read_bytes())
    places = places_of_packets(source)
    for place, size in islice(places, numbers.start, numbers.stop):
        content[place : place + size] = bytes(size)
    target.write_bytes(content)


@pytest.fixture(scope="module")
def place(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``set`` with a good video, one cut off, one damaged in one packet and one in most; a run and a classifier."""
    folder = tmp_path_factory.mktemp("damage")
    good = encode(folder / "set" / "good.mp4", 24, SIZE, codec="mjpeg")
    with_holes(good, folder / "set" / "hole.mp4", range(10, 11))
    with_holes(good, folder / "set" / "lost.mp4", range(11, 24))
    whole = table_first(encode(folder / "long.mp4", 280, SIZE, g="10"), folder / "whole.mp4")
    place, size = places_of_packets(whole)[19]
    (folder / "set" / "cut.mp4").write_bytes(whole.read_bytes()[: place + size])
    assert pretrain(videos, folder / "run", "--max_steps", "1") == 0
    write_classifier(folder / "run.safetensors")
    return folder


def test_the_videos_are_what_they_are_meant_to_be(place: Path) -> None:
    """FFmpeg alone reads 20 frames of the one that is cut off, and says nothing."""
    with av.open(str(place / "set" / "cut.mp4")) as container:
        assert len(list(container.decode(video=0))) == 20


def test_scan(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["scan", str(place / "set"), "-o", str(tmp_path), "--full", "--workers", "1"]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(Path(video["path"]).name, video["cut_off"], video["reason"]) for video in found["bad"]] == [
        ("cut.mp4", True, CUT_OFF),
        ("lost.mp4", False, LOST),
    ]
    assert (found["good"], found["cut_off"]) == (2, 1)
    assert [(Path(video["path"]).name, video["packets"]) for video in found["damaged"]] == [("hole.mp4", 1)]
    good = load_annotations(tmp_path / "scan.good.csv")
    assert [Path(good.path(row)).name for row in range(len(good))] == ["good.mp4", "hole.mp4"]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "2 bad, of which 1 cut off" in told
    assert f"hole.mp4: {SKIPPED}" in told


def test_prepare(place: Path, tmp_path: Path) -> None:
    assert main(["prepare", "folder", str(place / "set"), "-o", str(tmp_path / "out"), "--workers", "1"]) == 0
    problems = json.loads((tmp_path / "out" / "report.json").read_text())["problems"]
    assert [(problem["kind"], problem["place"], problem["reason"]) for problem in problems] == [
        ("broken", "cut.mp4", CUT_OFF),
        ("broken", "lost.mp4", LOST),
        ("damaged", "hole.mp4", SKIPPED),
    ]


def test_pretrain(place: Path, tmp_path: Path) -> None:
    names = ["good", "hole", "cut", "lost", "good", "hole", "good", "hole"]
    (tmp_path / "train.csv").write_text("".join(f"{place / 'set' / name}.mp4\n" for name in names))
    # Every frame is wanted, so that all damage is met.
    words = ["--num_frames", "24", "--max_bad_fraction", "1"]
    assert pretrain(tmp_path, tmp_path / "run", *words) == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "bad_videos.jsonl").read_text().splitlines()]
    assert {(Path(line["path"]).name, line["reason"]) for line in lines} == {("cut.mp4", CUT_OFF), ("lost.mp4", LOST)}


@pytest.mark.slow
@pytest.mark.parametrize("command", ["predict", "visualize", "saliency", "timeline", "extract"])
def test_commands_that_look_at_single_videos(
    command: str, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [str(place / "set" / f"{name}.mp4") for name in ("good", "hole", "cut", "lost")]
    words = [str(place / "run.safetensors"), *names, "--test_num_segment", "2", "--num_frames", "12"]
    if command != "predict":
        words = [str(place / "run"), *names, "-o", str(tmp_path / ("x.npz" if command == "extract" else "out"))]
    code = main([command, *words, "--sampling_rate", "1", "--device", "cpu"])
    told = capsys.readouterr()
    assert f"note: {names[1]}: {SKIPPED}" in told.err.splitlines()
    if command == "predict":
        assert code == 2
        assert [entry["video"] for entry in json.loads(told.out)] == names[:2]
        assert told.err.splitlines()[-1] == f"adamae: error: {names[2]}: {CUT_OFF}, and 1 more without a prediction"
        return
    missing = "features" if command == "extract" else "pictures"
    lines = [line for line in told.err.splitlines() if line.startswith("no ")]
    assert lines == [f"no {missing}: {names[2]}: {CUT_OFF}", f"no {missing}: {names[3]}: {LOST}"]
    if command == "extract":
        with np.load(tmp_path / "x.npz") as file:
            assert set(file["path"].tolist()) == set(names[:2])
    else:
        assert code == 2
        assert {path.name[:4] for path in (tmp_path / "out").iterdir()} == {"good", "hole"}
