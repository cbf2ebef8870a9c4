"""``estimate`` from Python."""

from __future__ import annotations

from typing import Any

import pytest

from adamae.errors import UserError
from adamae.estimate import estimate
from adamae.options.estimate import EstimateOptions

SIZES: dict[str, Any] = {
    **{"model": "adamae_tiny", "encoder_depth": 1, "decoder_depth": 1, "input_size": 32, "patch_size": 8},
    **{"num_frames": 4, "mask_ratio": 0.75, "batch_size": 4, "num_workers": 2, "epochs": 3, "device": "cpu"},
}


def test_a_run_without_its_videos(capsys: pytest.CaptureFixture[str]) -> None:
    options = EstimateOptions.of(**SIZES, num_videos=80, loader_rate=1e-3, gpus=2, passes=1, clips_per_pass=1)
    found = estimate(options)
    # 20 batches of 4 for two processes.
    assert (found.run.gpus, found.run.steps_per_epoch, found.run.epochs) == (2, 10, 3)
    assert found.cost.pass_seconds > 0 and not found.cost.predicted
    assert (found.limit, found.device) == ("loader", "cpu, fp32")
    # Two workers of each of two processes.
    assert found.hours == pytest.approx(3 * 80 / 4e-3 / 3600)
    assert "device" not in found.as_dict()
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "")


def test_mistakes() -> None:
    with pytest.raises(UserError, match="a step needs 4 videos or images"):
        estimate(EstimateOptions.of(**SIZES, num_videos=3, loader_rate=1))
    with pytest.raises(UserError, match="unknown option --num_video; did you mean --num_videos"):
        EstimateOptions.of(num_video=3)
