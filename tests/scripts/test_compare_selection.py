"""The command behind the second table of FINETUNE.md: what it runs, and how the table is put together."""

from __future__ import annotations

import contextlib
import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def script() -> ModuleType:
    return importlib.import_module("compare_selection")


def test_all_tokens_are_one_kind(script: ModuleType) -> None:
    kinds = script.kinds_of(["motion", "random"], [0.3, 0.6, 1.0])
    assert kinds == ["all", "motion-0.3", "random-0.3", "motion-0.6", "random-0.6"]
    assert script.options_of("motion-0.6") == ["--token_selection", "motion", "--keep_ratio", "0.6"]
    assert [script.describe(kind) for kind in kinds[:3]] == ["all", "30% by motion", "30% at random"]


def test_pieces_are_done_once_and_put_together(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []

    def run(words: Sequence[str]) -> str:
        calls.append(list(words))
        if words[0] == "finetune":
            test = Path(words[words.index("--output_dir") + 1]) / "test"
            test.mkdir(parents=True)
            top1 = 80.0 - 5 * ("motion" in words) + int(words[words.index("--seed") + 1])
            (test / "scores.json").write_text(json.dumps({"top1": top1}))
        return ""

    times = {"all": 2.0, "motion-0.6": 1.1}
    monkeypatch.setattr(script.SelectionComparison, "_time", lambda *_: {"steps": times})
    kinds = script.kinds_of(["motion"], [0.6])

    def compare(**options: float) -> str:
        comparison = script.SelectionComparison(tmp_path, [], [], [], run, **options)
        with contextlib.suppress(script.OutOfTimeError):
            comparison.compare_selections(kinds, [0, 1], 1)
        table: str = comparison.selection_table(kinds, [0, 1])
        return table

    assert compare(deadline=-1.0).count("not yet") == 4
    table = compare()
    assert [call[0] for call in calls] == ["synthesize", *["pretrain", "finetune", "finetune"] * 2]
    assert table.splitlines()[2:] == [
        "| all | 80.5 ± 6.4 | 80.0, 81.0 |  | 1.00 |",
        "| 60% by motion | 75.5 ± 6.4 | 75.0, 76.0 | 5.0 | 0.55 |",
    ]
    assert compare() == table
    assert len(calls) == 7
