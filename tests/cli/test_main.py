"""The door: commands are found, errors are one line, and help costs nothing."""

from __future__ import annotations

import json
import os
import re
import resource
import shlex
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

import adamae
from adamae.cli import main as cli
from adamae.errors import UserError
from adamae.options.help_layout import folded

HEAVY = (
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "av",
    "decord",
    "torchcodec",
    "deepspeed",
    "tensorboard",
    "yaml",
    "rich",
)
SUBJECTS = ("step", "memory", "loader", "eval")
# Commands that write where -o says.
WITH_OUT = ("prepare", "scan", "pack", "extract", "visualize", "saliency", "timeline", "report", "convert")


@pytest.mark.parametrize("words", ["--help", "--version"])
def test_a_reader_that_has_ended_is_no_error(words: str) -> None:
    command = [sys.executable, "-m", "adamae", *words.split()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 141


def test_an_output_that_is_full_is_one_line() -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123 (a device)
        command = [sys.executable, "-m", "adamae", "--help"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "adamae: error: the output cannot be written: No space left on device\n",
    )


def test_an_output_that_is_closed_is_no_error() -> None:
    command = [sys.executable, "-m", "adamae", "--version"]
    done = subprocess.run(["bash", "-c", f"{shlex.join(command)} >&-"], stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8"])
def test_names_that_the_output_s_encoding_lacks_are_escaped_as_in_json(encoding: str) -> None:
    names = ["b\udcff", "é", "日", "\U0001f600"]
    code = f"from adamae.cli.output import accept_all_names; accept_all_names(); print('\\n'.join({names!r}))"
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    out = subprocess.run([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, check=True).stdout
    lines = out.splitlines()
    assert lines[0] == b"b\xff"
    assert [json.loads(b'"%b"' % line.decode(encoding).encode()) for line in lines[1:]] == names[1:]


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_help_lists_the_commands(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 0
    text = capsys.readouterr().out
    for command in cli.COMMANDS:
        assert f"  {command}" in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"adamae {adamae.__version__}\n"


def test_an_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["pertrain"]) == 2
    assert capsys.readouterr().err == "adamae: error: unknown command 'pertrain'; did you mean pretrain?\n"


@pytest.mark.parametrize(("error", "code"), [(UserError("a is 1, expected 2"), 2), (KeyboardInterrupt(), 130)])
def test_errors_become_exit_codes(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(name: str, words: object) -> int:
        raise error

    monkeypatch.setattr(cli, "run_command", fail)
    assert cli.main(["pretrain"]) == code
    assert capsys.readouterr().err == ("adamae: error: a is 1, expected 2\n" if code == 2 else "")


def test_our_own_defects_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str, words: object) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "run_command", fail)
    with pytest.raises(ZeroDivisionError):
        cli.main(["pretrain"])


def test_the_deepspeed_launcher_s_flag_may_come_before_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--local_rank=1", "--version"]) == 0


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_help_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with suppress(SystemExit):
        assert cli.main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"usage: adamae {command}" in text
    assert f"  adamae {command} " in text


HELPS = [[], *([command] for command in cli.COMMANDS), *(["bench", subject] for subject in SUBJECTS)]


@pytest.mark.parametrize("columns", [80, 200])
@pytest.mark.parametrize("words", HELPS, ids=" ".join)
def test_help_fits_the_terminal_and_names_short_options(
    words: list[str], columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = help_of(words, capsys)
    assert [line for line in text.splitlines() if len(line) > columns] == []
    usage = " ".join(text.split("\n\n")[0].split())
    short = set(re.findall(r"^  (-\w), --\w+ [A-Z]+", text, re.MULTILINE)) - {"-h"}
    # What an example uses, the list of options explains and the usage line shows.
    for name in re.findall(r"(?<=\s)-o(?=\s)", text.partition("examples:")[2]):
        assert name in short
    for name in short:
        assert re.search(rf"{name} [A-Z]+", usage)
    assert bool(short) == (words in [[command] for command in WITH_OUT])


def help_of(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with suppress(SystemExit):
        assert cli.main([*words, "--help"]) == 0
    return capsys.readouterr().out


def test_the_examples_of_help_can_be_pasted(monkeypatch: pytest.MonkeyPatch) -> None:
    line = "adamae visualize checkpoint-799.pth a.mp4 b.mp4 -o pictures --mask_type learnable random tube frame"
    text = folded(line, 60)
    assert max(map(len, text.splitlines())) <= 60
    assert len(text.splitlines()) > 1
    assert shlex.split(text.replace("\\\n", "")) == line.split()


@pytest.mark.parametrize("words", [["--help"], *([command, "--help"] for command in cli.COMMANDS)], ids=" ".join)
def test_help_answers_at_once_and_imports_nothing_heavy(words: list[str], root: Path) -> None:
    code = f"""
import sys
sys.argv[1:] = {words!r}
from adamae.cli.main import main
try:
    main()
except SystemExit:
    pass
print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.stderr == "[]\n"
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5
