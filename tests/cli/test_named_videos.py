"""The commands that look at single videos: a file, a folder and a list alike, past bad ones, and -o told at once."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adamae.cli.main import main
from adamae.errors import UserError
from tests.cli.test_pretrain import pretrain
from tests.evaluation.tiny import write_classifier

# What each leaves of a video: the end of a file's name.
SHOWN = {"visualize": ".png", "saliency": "-saliency.gif", "timeline": "-timeline.csv"}


@pytest.fixture(scope="module")
def place(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos in a folder, one that is none between them, a list of all, a run of one step, and a classifier."""
    folder = tmp_path_factory.mktemp("named")
    assert pretrain(videos, folder / "run", "--max_steps", "1") == 0
    write_classifier(folder / "run.safetensors")
    first, second = sorted((videos / "val").rglob("*.mp4"))
    (folder / "set").mkdir()
    shutil.copy(first, folder / "set" / "1.mp4")
    (folder / "set" / "2.mp4").write_bytes(b"no video" * 99)
    shutil.copy(second, folder / "set" / "3.mp4")
    (folder / "list.csv").write_text("set/1.mp4\nset/2.mp4\nset/3.mp4\n")
    return folder


def shown(command: str, place: Path, given: list[str], out: Path) -> tuple[int, list[str]]:
    """Exit code, and of which videos there are pictures."""
    code = main([command, str(place / "run"), *given, "-o", str(out), "--device", "cpu", "--seconds", "0.4"])
    return code, sorted(path.name.removesuffix(SHOWN[command]) for path in out.glob(f"*{SHOWN[command]}"))


def predicted(command: str, place: Path, given: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    capsys.readouterr()
    code = main([command, str(place / "run.safetensors"), *given, "--sampling_rate", "1", "--device", "cpu"])
    return code, [Path(entry["video"]).stem for entry in json.loads(capsys.readouterr().out)]


def extracted(command: str, place: Path, given: list[str], out: Path) -> tuple[int, list[str]]:
    words = [str(place / "run"), *given, "-o", str(out / "x.npz"), "--device", "cpu"]
    code = main([command, *words])
    with np.load(out / "x.npz") as file:
        return code, sorted({Path(path).stem for path in file["path"]})


@pytest.mark.slow
@pytest.mark.parametrize("command", [*SHOWN, "predict", "extract"])
def test_a_file_a_folder_and_a_list_alike_and_past_a_bad_video(
    command: str, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [str(place / "set" / f"{number}.mp4") for number in (1, 2, 3)]
    for number, given in enumerate((names, [str(place / "set")], [str(place / "list.csv")], names[:1])):
        out = tmp_path / str(number)
        if command == "predict":
            code, found = predicted(command, place, given, capsys)
        else:
            code, found = (extracted if command == "extract" else shown)(command, place, given, out)
        assert found == (["1"] if given == names[:1] else ["1", "3"])
        # extract writes what it could not read into its file instead.
        assert code == (0 if given == names[:1] or command == "extract" else 2)


@pytest.mark.parametrize("command", ["saliency", "extract"])
def test_shards_too(command: str, place: Path, tmp_path: Path) -> None:
    names = [str(place / "set" / f"{number}.mp4") for number in (1, 3)]
    (tmp_path / "list.csv").write_text("".join(f"{name}\n" for name in names))
    assert main(["pack", str(tmp_path / "list.csv"), "-o", str(tmp_path / "shards"), "--no_shuffle"]) == 0
    found = (extracted if command == "extract" else shown)(command, place, [str(tmp_path / "shards")], tmp_path)
    assert found == (0, ["1", "3"])


def test_a_bad_video_is_told_when_it_comes_and_at_the_end(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone.mp4"
    assert shown("saliency", place, [str(place / "list.csv"), str(gone)], tmp_path / "out") == (2, ["1", "3"])
    told = capsys.readouterr().err.splitlines()
    bad = f"{place / 'set' / '2.mp4'}: not a readable video (Invalid data found when processing input)"
    notes = [line for line in told if line.startswith("no pictures: ")]
    assert notes == [f"no pictures: {bad}", f"no pictures: {gone}: no such file"]
    assert told[-1] == f"adamae: error: {bad}, and 1 more without pictures"


@pytest.mark.parametrize("command", [*SHOWN, "extract", "evaluate", "report"])
def test_a_place_that_cannot_be_written_is_told_before_the_work(
    command: str, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Even before the checkpoint, which is not there, is opened."""
    (tmp_path / "file").touch()
    out = str(tmp_path / "file" / "below.npz")
    words = {
        "evaluate": ["nowhere", "--data_path", str(place / "list.csv"), "--output_dir", out],
        "report": ["nowhere", "-o", out],
    }
    assert main([command, *words.get(command, ["nowhere", str(place / "set"), "-o", out])]) == 2
    assert f"{out}: cannot be written (Not a directory)" in capsys.readouterr().err.splitlines()[-1]


def test_the_score_is_printed_before_it_is_written(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any) -> list[str]:
        raise UserError("scores.json: cannot be written (No space left on device)")

    monkeypatch.setattr("adamae.evaluation.evaluator.write_results", full)
    (tmp_path / "list.csv").write_text(f"{place / 'set' / '1.mp4'} 0\n{place / 'set' / '3.mp4'} 1\n")
    words = ["--data_path", str(tmp_path / "list.csv"), "--output_dir", str(tmp_path / "out"), "--num_workers", "0"]
    assert main(["evaluate", str(place / "run.safetensors"), *words, "--sampling_rate", "1", "--device", "cpu"]) == 2
    told = capsys.readouterr()
    assert told.out.startswith("top-1 ")
    assert told.err.splitlines()[-1].endswith("(No space left on device)")


def test_pages_and_json_of_odd_names(place: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    name = os.fsdecode(b'two\nlines "@DATA@" <b> \xff.mp4')
    shutil.copy(place / "set" / "1.mp4", tmp_path / name)
    words = ["-o", str(tmp_path / "out"), "--html", "--device", "cpu", "--seconds", "0.4"]
    assert main(["visualize", str(place / "run"), str(tmp_path / name), *words]) == 0
    assert os.fsencode(tmp_path / "out" / name)[:-4] + b".html" in capfdbinary.readouterr().out
    (page,) = (tmp_path / "out").glob("*.html")
    text = page.read_bytes().decode("utf-8")
    assert "two\\nlines &quot;@DATA@&quot; &lt;b&gt; \\xff" in text
    _, _, rest = text.partition('type="application/json">')
    assert json.loads(rest.partition("</script>")[0])["title"] == 'two\\nlines "@DATA@" <b> \\xff'
    words = [str(place / "run.safetensors"), str(tmp_path / name), "--sampling_rate", "1", "--device", "cpu"]
    assert main(["predict", *words]) == 0
    (entry,) = json.loads(capfdbinary.readouterr().out.decode("utf-8"))
    assert entry["video"] == str(tmp_path / name)
