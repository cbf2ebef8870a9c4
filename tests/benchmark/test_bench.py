"""``adamae.bench`` from Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adamae.bench import bench_eval, bench_loader, bench_memory, bench_step
from adamae.benchmark.contenders import OURS, variants
from adamae.benchmark.roofline import Prediction
from adamae.benchmark.step import StepReport
from adamae.errors import UserError
from adamae.options.bench import BenchEvalOptions, BenchLoaderOptions, BenchMemoryOptions, BenchStepOptions

CLIP: dict[str, Any] = {"num_frames": 4, "input_size": 32}
SIZES: dict[str, Any] = {**CLIP, "model": "adamae_tiny", "encoder_depth": 1, "decoder_depth": 1, "mask_ratio": 0.5}


def test_a_step_is_measured_or_predicted(capsys: pytest.CaptureFixture[str]) -> None:
    known = {OURS: variants()[OURS], "mine": variants()["checkpoint_all"]}
    report = bench_step(BenchStepOptions.of(**SIZES, device="cpu", rounds=1, compare=("mine",)), known)
    assert isinstance(report, StepReport)
    assert (report.batch_size, report.device, list(report.rates)) == (2, "cpu", [OURS, "mine"])
    assert isinstance(bench_step(BenchStepOptions.of(**SIZES, predict="h100")), Prediction)
    with pytest.raises(UserError, match="compare = 'nothing': expected some of mine"):
        bench_step(BenchStepOptions.of(**SIZES, compare=("nothing",)), known)
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "")


def test_less_is_kept_with_economy() -> None:
    table = bench_memory(BenchMemoryOptions.of(**SIZES))
    assert list(table) == ["full", "economy"]
    assert table["economy"]["fp32"]["none"] < table["full"]["fp32"]["none"]
    assert table["full"]["fp32"]["all"] < table["full"]["fp32"]["none"]


def test_a_list_is_read(videos: Path) -> None:
    loaded = bench_loader(
        BenchLoaderOptions.of(str(videos / "train.csv"), **CLIP, num_videos=4, batch_size=2, num_workers=0)
    )
    # One or two files are damaged.
    assert (loaded.clips + loaded.bad, loaded.num_workers) == (4, 0) and loaded.clips_per_second > 0
    seen = bench_eval(BenchEvalOptions.of(str(videos / "train.csv"), **CLIP, num_videos=2, test_num_crop=1))
    assert seen.views == 5 and seen.views_per_second > 0
