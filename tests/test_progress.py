"""What is seen of long work, from its beginning on."""

from __future__ import annotations

import time

import pytest

from adamae import progress as progress_module
from adamae.progress import progress_of


def test_a_bar_from_the_beginning_and_one_for_each_stage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    with progress_of("scanning") as progress:
        begin = time.monotonic()
        while "scanning files" not in capsys.readouterr().err and time.monotonic() - begin < 10:
            time.sleep(0.05)
        assert time.monotonic() - begin < 10, "no bar before anything is done"
        progress.scanning(700, None)
        progress.scanning(40, 900)
        progress.work(3, 901)
    told = capsys.readouterr().err
    assert "scanning" in told
    assert "3/901" in told


def test_plain_lines_where_nobody_looks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress_module, "_PLAIN_SECONDS", 0.0)
    with progress_of("scanning") as progress:
        progress.scanning(700, None)
        progress.scanning(40, 900)
        progress.work(3, 901)
    assert capsys.readouterr().err.splitlines() == [
        "scanning files: 700",
        "scanning files: 40 of 900",
        "scanning: 3 of 901",
    ]
