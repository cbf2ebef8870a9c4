"""What the machine decides: the precision of its GPU, and how long commands wait for other processes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from adamae import distributed
from adamae.cli.main import main
from adamae.errors import UserError
from adamae.precision import choose_precision
from tests.cli.test_pretrain import TINY
from tests.evaluation.tiny import write_classifier


@pytest.mark.parametrize(
    ("capability", "expected"),
    [((7, 0), "fp16"), ((7, 5), "fp16"), ((8, 0), "bf16"), ((9, 0), "bf16")],
    ids=["V100", "T4", "A100", "H100"],
)
def test_auto_is_bf16_only_where_the_gpu_has_it(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], expected: str
) -> None:
    major, minor = capability
    make = torch.tensor

    def emulated(*values: Any, device: Any = None, **options: Any) -> torch.Tensor:
        # What an emulating GPU does: it makes a bf16 tensor when asked to.
        return make(*values, **options)

    monkeypatch.setattr(torch, "tensor", emulated)
    monkeypatch.setattr(torch.version, "cuda", "12.4")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device=None: SimpleNamespace(major=major, minor=minor)
    )
    assert choose_precision("auto", torch.device("cuda", 0)) == expected
    assert choose_precision("fp32", torch.device("cuda", 0)) == "fp32"
    assert choose_precision("auto", torch.device("cpu")) == "fp32"


def words_of(command: str, videos: Path, network: Path) -> list[str]:
    """A whole command line of ``command``."""
    lists, seen = ["--data_path", str(videos)], ["--sampling_rate", "2"]
    return {
        "pretrain": [*lists, *TINY, "--output_dir", str(network.parent / "run")],
        "finetune": [*lists, "--output_dir", str(network.parent / "run")],
        "estimate": [*TINY, "--num_videos", "8", "--loader_rate", "1"],
        "evaluate": [str(network), *lists],
        "predict": [str(network), str(videos), *seen],
        "extract": [str(network), str(videos), *seen, "-o", str(network.parent / "features.npz")],
        "probe": [str(network), *lists, *seen],
    }[command]


@pytest.mark.parametrize("command", ["pretrain", "finetune", "estimate", "evaluate", "predict", "extract", "probe"])
def test_every_command_of_several_processes_waits_as_long_as_it_is_told(
    command: str, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def note(device: str, *, timeout_seconds: float = -1, **_: object) -> None:
        raise UserError(f"waits {timeout_seconds} s on {device}")

    monkeypatch.setattr(distributed, "start", note)
    words = words_of(command, videos, write_classifier(tmp_path / "network.safetensors"))
    for asked, expected in (([], 120.0), (["--rendezvous_timeout", "7"], 7.0)):
        assert main([command, *words, *asked]) == 2
        assert capsys.readouterr().err.splitlines()[-1].startswith(f"adamae: error: waits {expected} s on ")


@pytest.mark.parametrize("seconds", ["0", "-1", "1e9", "inf"])
def test_a_time_that_is_none(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pretrain", "--data_path", "x", "--output_dir", "y", "--rendezvous_timeout", seconds]) == 2
    assert "expected a number above 0 and at most 86400" in capsys.readouterr().err
