"""``adamae synthesize``."""

from __future__ import annotations

import inspect
from dataclasses import MISSING
from pathlib import Path

import pytest

from adamae.cli.main import main
from adamae.data.synthetic import synthesize
from adamae.flags import flags_of
from adamae.options.synthesize import SynthesisOptions


def test_it_writes_lists_and_videos_and_says_so_once_more(videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len((videos / "train.csv").read_text().splitlines()) == 12
    assert len(list(videos.rglob("*.mp4"))) == 14
    options = "--videos_per_class 6 --val_per_class 1 --test_per_class 0 --classes left,right --size 32 --frames 8"
    assert main(["synthesize", str(videos), *options.split()]) == 0
    assert "14 videos of 2 classes, all of them already complete" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "the following arguments are required: OUT"),
        ("{out} --size 17", "size = 17: expected an even number, at least 16"),
        ("{out} --classes up,sideways", "classes = up sideways: expected names out of"),
        ("{out} --background rough", "--background: got 'rough', expected one of smooth, textured, mixed"),
        ("{out} more", "unexpected argument 'more'"),
        ("{root}", "expected a new or empty folder"),
    ],
)
def test_mistakes(words: str, message: str, tmp_path: Path, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["synthesize", *words.format(out=tmp_path / "out", root=root).split()]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_options_have_the_function_s_defaults() -> None:
    parameters = inspect.signature(synthesize).parameters
    options = {option.name: option.default for option in flags_of(SynthesisOptions)}
    assert options.keys() == parameters.keys() - {"progress"}
    for name, default in options.items():
        if default is not MISSING and name not in ("classes", "workers"):
            assert default == parameters[name].default, name
