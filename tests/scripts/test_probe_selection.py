"""The command behind the table of selected tokens in docs/TABLE1.md."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from adamae.options.evaluation import probe_parser

ORIGIN = {"date": "2026-01-02", "commit": "abc", "machine": "a machine", "cpu_seconds": 1800.0}


@pytest.fixture
def script() -> ModuleType:
    return importlib.import_module("probe_selection")


class FakePieces:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.commands: dict[str, list[str]] = {}

    def make(self, name: str, words: Sequence[str], read: Any) -> None:
        self.commands[name] = list(words)


def test_every_network_is_probed_with_every_selection(script: ModuleType) -> None:
    pieces = FakePieces(Path("runs/table1"))
    script.make_all(pieces, [12, 13], workers=2)
    assert len(pieces.commands) == 2 * len(script.ROWS_OF_TABLE)
    own = pieces.commands["selected-adaptive-adaptive-95-12"]
    assert own[2] == "runs/table1/pretrain-adaptive-95-12"
    assert own[-4:] == ["--token_selection", "adaptive", "--keep_ratio", "0.05"]
    # Made by table1.py itself, so it must be its command.
    assert "--token_selection" not in pieces.commands["probe-random-95-13"]
    scratch = pieces.commands["selected-motion-random-weights-13"]
    assert "--random_weights" in scratch and scratch[2].endswith("adaptive-95-13")
    for words in pieces.commands.values():
        assert words[:2] == ["adamae", "probe"]
        probe_parser().parse(words[2:])


def test_the_tables(script: ModuleType) -> None:
    first, *others = script.ROWS_OF_TABLE
    results = {
        (row, seed): {"attentive": 10.0, "linear": 20.0, "knn": 5.0, **ORIGIN} for row in others for seed in (1, 2)
    }
    results |= {(first, seed): {"attentive": 60.0 + seed, "linear": 50.0, "knn": 5.0, **ORIGIN} for seed in (1, 2)}
    text = script.report(results).splitlines()
    assert "| adaptive 95 % | 5 %, by the learned sampler | 61.5 ± 6.4 | 50.0 ± 0.0 | 5.0 ± 0.0 |" in text
    assert (
        "| random weights | 5 %, by motion | +51.5 [+45.1, +57.9] | better | +30.0 [+30.0, +30.0] | +0.0 [+0.0, +0.0] |"
        in text
    )
    # The learned sampler's tokens have no counterpart: random weights have no such sampler.
    (place,) = (
        number for number, line in enumerate(text) if line.startswith("| minus random weights on the same tokens |")
    )
    pairs = [line for line in text[place + 2 :] if line.startswith("|")]
    assert [line.split(" | ")[0].removeprefix("| ") for line in pairs] == ["adaptive 95 %"] * 3 + ["random 95 %"] * 3
    assert {line.split(" | ", 2)[2] for line in pairs} == {
        "+0.0 [+0.0, +0.0] | not decided | +0.0 [+0.0, +0.0] | +0.0 [+0.0, +0.0] |"
    }
    assert text[-1].startswith("Seeds 1, 2. 20 pieces, 10.0 processor hours, 2026-01-02; commit abc")
