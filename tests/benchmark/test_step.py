"""The step benchmark measures what it says, at sizes that cost nothing."""

from __future__ import annotations

import json

import pytest
import torch

from adamae.benchmark.step import benchmark_step
from adamae.benchmark.timing import take_turns
from adamae.errors import UserError

TINY = {"img_size": 32, "num_frames": 4, "encoder_depth": 1, "decoder_depth": 1, "mask_ratio": 0.5}


def test_contenders_take_turns() -> None:
    order: list[str] = []
    timings = take_turns({name: lambda name=name: order.append(name) for name in "ab"}, 3, torch.device("cpu"))
    assert order == ["a", "b"] + ["a", "b"] * 3
    assert timings.keys() == {"a", "b"}


@pytest.mark.parametrize("mask_type", ["learnable", "tube"])
def test_a_report_holds_step_parts_and_peer(mask_type: str) -> None:
    report = benchmark_step(model="adamae_tiny", batch_size=1, rounds=1, peer=True, mask_type=mask_type, **TINY)
    assert report.step.wall > 0 and report.peak_memory > 2**20
    assert list(report.parts) == [
        "patchify and normalise",
        "tokenizer",
        "sampler",
        "encoder",
        "decoder",
        "targets and loss",
    ]
    assert report.over_peer is not None and report.over_peer > 0
    assert json.loads(json.dumps(report.as_dict()))["model"] == "adamae_tiny"
    text = report.render()
    assert "clips/s" in text and "sampler" in text and "Transformers VideoMAE" in text


def test_classifiers_have_no_pretrain_step() -> None:
    with pytest.raises(UserError, match="vit_tiny_patch16_224 is no pre-train model"):
        benchmark_step(model="vit_tiny_patch16_224")
