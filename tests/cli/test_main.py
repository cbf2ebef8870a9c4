"""The door: commands are found, errors are one line, and help costs nothing."""

from __future__ import annotations

import resource
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

import adamae
from adamae.cli import main as cli
from adamae.errors import UserError

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
