"""``--compile`` on a torch that is too old: one line, before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.torch_version import TorchVersion

from adamae.cli.main import main
from tests.cli.test_pretrain import TINY

SIZES = """--model adamae_tiny --encoder_depth 1 --decoder_depth 1 --input_size 32 --patch_size 8 --num_frames 4
    --mask_ratio 0.75 --rounds 1 --device cpu""".split()


@pytest.mark.parametrize(
    "words",
    [
        ["pretrain", *TINY],
        ["estimate", *TINY, "--passes", "1", "--num_videos", "8", "--loader_rate", "1"],
        ["bench", "step", *SIZES],
    ],
    ids=["pretrain", "estimate", "bench step"],
)
def test_commands_refuse_it_in_one_line(
    words: list[str], videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch, "__version__", TorchVersion("2.5.1"))
    run = tmp_path / "run"
    given = ["--data_path", str(videos / "train.csv"), "--output_dir", str(run)] if words[0] == "pretrain" else []
    assert main([*words, *given, "--compile"]) == 2
    line = "adamae: error: --compile: torch 2.5.1 is installed, expected 2.6 or newer"
    assert capsys.readouterr().err.splitlines()[-1] == line
    assert not run.exists()
