"""The command behind docs/benchmarks/economy.md: what it runs, how long, and how the table is put together."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

TIMES = {"learnable": 2.0, "economy": 1.5, "random": 1.0}


@pytest.fixture
def script() -> ModuleType:
    return importlib.import_module("compare_economy")


def test_equal_steps_equal_time_and_fewer(script: ModuleType) -> None:
    rows = [(row.mask, row.epochs, round(row.time, 3)) for row in script.rows_of(TIMES, 10, [5])]
    assert rows == [
        ("learnable", 10, 1.0),
        ("economy", 10, 0.75),
        ("economy", 13, 0.975),  # 13.3 fit
        ("random", 10, 0.5),
        ("random", 20, 1.0),
        ("economy", 5, 0.375),
    ]
    # Where nothing is saved, equal steps take equal time.
    assert len(script.rows_of(dict.fromkeys(TIMES, 1.0), 10, [10])) == 3


def test_time_to_reach_by_hand(script: ModuleType) -> None:
    means = {1.0: 90.0, 0.5: 70.0, 0.75: 80.0}
    assert script.time_to_reach(means, 75.0) == pytest.approx(0.625)
    assert script.time_to_reach(means, 60.0) == 0.5
    assert script.time_to_reach(means, 90.0) == 1.0
    assert script.time_to_reach(means, 90.1) is None
    # Chance may make longer runs worse: the first time counts.
    assert script.time_to_reach({0.5: 70.0, 0.75: 80.0, 1.0: 60.0}, 80.0) == 0.75


def test_intervals_that_overlap(script: ModuleType) -> None:
    # ± 12.4 by Student's t with two degrees of freedom: 4.303 * 5 / sqrt(3).
    assert script.overlap([45.0, 50.0, 55.0], [69.0, 74.0, 79.0])
    assert not script.overlap([45.0, 50.0, 55.0], [70.0, 75.0, 80.0])


def test_pieces_are_done_once_and_put_together(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []
    # As compare_selection.py leaves the full mode's network, fine-tuned with all tokens.
    (tmp_path / "pieces").mkdir()
    (tmp_path / "pieces" / "finetune-all-0.json").write_text(json.dumps({"top1": 80.0}))

    def run(words: Sequence[str]) -> str:
        calls.append(list(words))
        if words[0] == "finetune":
            output = Path(words[words.index("--output_dir") + 1])
            mask, epochs = output.name.split("-")[1:3]
            top1 = {"all": 80.0, "random": 0.0, "economy": 60 + 2 * float(epochs)}[mask]
            (output / "test").mkdir(parents=True)
            top1 += int(words[words.index("--seed") + 1])
            (output / "test" / "scores.json").write_text(json.dumps({"top1": top1}))
        return ""

    monkeypatch.setattr(script.EconomyComparison, "_time", lambda *_: TIMES)

    def compare() -> tuple[str, str]:
        comparison = script.EconomyComparison(tmp_path, ["--epochs", "10"], [], [], run)
        rows = script.rows_of(comparison.time_steps(1), 10, [5])
        assert comparison.verdict(rows, [0]).startswith("Not enough is done")
        comparison.compare_rows(rows, 10, [0, 1])
        assert comparison.verdict(rows, [0]).endswith("One seed has no interval.")
        return comparison.economy_table(rows, [0, 1]), comparison.verdict(rows, [0, 1])

    table, verdict = compare()
    assert table.splitlines()[2:] == [
        "| adaptive masks | 10 | 1.00 | 80.5 ± 6.4 | 80.0, 81.0 |",
        "| adaptive masks, `--economy` | 5 | 0.38 | 70.5 ± 6.4 | 70.0, 71.0 |",
        "| adaptive masks, `--economy` | 10 | 0.75 | 80.5 ± 6.4 | 80.0, 81.0 |",
        "| adaptive masks, `--economy` | 13 | 0.97 | 86.5 ± 6.4 | 86.0, 87.0 |",
        "| random masks | 10 | 0.50 | 0.5 ± 6.4 | 0.0, 1.0 |",
        "| random masks | 20 | 1.00 | 0.5 ± 6.4 | 0.0, 1.0 |",
    ]
    assert "80.5 %, is reached by the mean with --economy after 0.75 of its time" in verdict
    assert "3 of 3" in verdict
    assert [call[0] for call in calls] == ["synthesize", "pretrain", *["pretrain", "finetune"] * 11]
    lengths = {call[-1] for call in calls if call[0] == "pretrain" and call.count("--epochs") == 2}
    assert lengths == {"13", "20", "5"}
    assert all("--economy" in call for call in calls if call[0] == "pretrain" and call[-1] in ("13", "5"))
    tuned = [call[call.index("--finetune") + 1] for call in calls if call[0] == "finetune"]
    assert [Path(folder).name for folder in tuned[-6:-4]] == ["pretrain-learnable-1", "pretrain-economy-1"]
    assert compare() == (table, verdict)
    assert len(calls) == 24


def test_a_step_of_each_kind_is_timed(script: ModuleType, tmp_path: Path) -> None:
    tiny = "--config quickstart --encoder_embed_dim 16 --encoder_num_heads 2 --encoder_depth 1 --num_frames 4"
    tiny += " --batch_size 2 --input_size 32 --decoder_embed_dim 16 --decoder_num_heads 2 --decoder_depth 1"
    comparison = script.EconomyComparison(tmp_path, tiny.split(), [], [], lambda words: "")
    times = comparison.time_steps(1)
    assert set(times) == {"learnable", "economy", "random"}
    assert min(times.values()) > 0
    assert comparison.time_steps(1) == times
