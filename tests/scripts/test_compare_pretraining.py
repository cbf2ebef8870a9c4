"""The command behind the table of FINETUNE.md: pieces are skipped, gone on with, and put together rightly."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

from tests.launching import ROOT

TINY = "--encoder_embed_dim 16 --encoder_num_heads 2 --encoder_depth 1 --num_frames 4 --input_size 32 --num_workers 0"
TINY += " --device cpu --warmup_epochs 0"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = ROOT / "scripts" / "benchmarks" / "compare_pretraining.py"
    spec = importlib.util.spec_from_file_location("compare_pretraining", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_intervals_by_hand(script: ModuleType) -> None:
    assert script.interval([]) == "not yet"
    assert script.interval([12.34]) == "12.3"
    assert script.interval([10.0, 20.0, 30.0]) == "20.0 ± 24.8"  # 4.303 * 10 / sqrt(3)
    assert script.interval([5.0, 5.0]) == "5.0 ± 0.0"


def test_pieces_are_done_once_and_in_order(script: ModuleType, tmp_path: Path) -> None:
    calls: list[str] = []

    def run(words: Sequence[str]) -> str:
        calls.append(f"{words[0]} {words[words.index('--output_dir') + 1] if '--output_dir' in words else words[1]}")
        if words[0] == "finetune":
            test = Path(words[words.index("--output_dir") + 1]) / "test"
            test.mkdir(parents=True)
            (test / "scores.json").write_text(json.dumps({"top1": 60.0 + 10 * ("--finetune" in words)}))
        return json.dumps({"probes": {"knn": {"top1": 40.0 - 10 * ("--random_weights" in words)}}})

    def compare(**options: float) -> str:
        comparison = script.Comparison(tmp_path, ["--epochs", "1"], [], [], run, **options)
        with contextlib.suppress(script.OutOfTimeError):
            comparison.compare(["learnable"], [0, 1])
        return comparison.table(["learnable"], [0, 1])

    assert "not yet" in compare(deadline=-1.0)
    assert calls == []
    table = compare()
    names = [call.replace(f"{tmp_path}/", "") for call in calls]
    trained = "pretrain-learnable"
    pieces = [f"pretrain {trained}", "finetune finetune-learnable", f"probe {trained}", "finetune finetune-none"]
    pieces.append(f"probe {trained}")
    assert names == ["synthesize videos", *(f"{piece}-{seed}" for seed in (0, 1) for piece in pieces)]
    assert table.splitlines()[2:] == [
        "| adaptive masks | 70.0 ± 0.0 | 70.0, 70.0 | 40.0 ± 0.0 | 40.0, 40.0 |",
        "| random weights | 60.0 ± 0.0 | 60.0, 60.0 | 30.0 ± 0.0 | 30.0, 30.0 |",
    ]
    assert compare() == table
    assert len(calls) == len(names)
    with pytest.raises(SystemExit):
        script.Comparison(tmp_path, ["--epochs", "2"], [], [], run).compare(["learnable"], [0])


@pytest.mark.slow
def test_a_tiny_budget_for_real(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--output_dir", str(tmp_path), "--seeds", "0", "--masks", "learnable", "--pretrain_epochs", "1"]
    words += ["--finetune_epochs", "1", "--videos_per_class", "4", "--test_per_class", "1"]
    words += ["--synthesis", "--size 32 --frames 8 --classes left,right,up --val_per_class 1 --workers 0"]
    words += ["--pretraining", f"{TINY} --decoder_embed_dim 16 --decoder_num_heads 2 --decoder_depth 1 --batch_size 4"]
    words += ["--finetuning", f"{TINY} --batch_size 4"]
    monkeypatch.setattr(sys, "argv", ["compare_pretraining.py", *words])
    assert script.main() == 0
    table = capsys.readouterr().out
    assert [line.split(" | ")[0] for line in table.splitlines()[2:4]] == ["| adaptive masks", "| random weights"]
    assert "not yet" not in table
    assert "1 epochs of pre-training, 1 of fine-tuning" in table
