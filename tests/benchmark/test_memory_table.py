"""What a further clip keeps for the backward pass in the economical mode and with activation checkpointing."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from adamae.benchmark.memory_table import kept_per_clip
from adamae.cli.main import main
from adamae.options.economy import economy_arguments

ECONOMY = economy_arguments(768)
MIB = 2**20


def test_each_measure_saves_on_a_small_part_of_the_base_model() -> None:
    few = {"encoder_depth": 1, "decoder_depth": 1}
    plain, economy = (kept_per_clip("adamae_base", torch.float32, **few, **options) for options in ({}, ECONOMY))
    assert economy < 0.7 * plain
    assert kept_per_clip("adamae_base", torch.float32, "decoder", **few) < 0.4 * plain


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "parts", "options", "most"),
    [
        (torch.bfloat16, "none", ECONOMY, 80),
        (torch.float32, "decoder", {}, 65),
        (torch.bfloat16, "decoder", {}, 35),
        (torch.bfloat16, "all", {}, 20),
    ],
    ids=["economy-bf16", "decoder-fp32", "decoder-bf16", "all-bf16"],
)
def test_the_base_model(precision: torch.dtype, parts: Any, options: dict[str, Any], most: float) -> None:
    # Required are 90 in the economical mode, and 90 and 45 with sampler and decoder checkpointed.
    assert kept_per_clip("adamae_base", precision, parts, **options) < most * MIB


@pytest.mark.slow
def test_the_command_prints_all_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    words = "--model adamae_tiny --encoder_depth 2 --decoder_depth 1 --num_frames 4 --input_size 64".split()
    assert main(["bench", "memory", *words, "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert table.keys() == {"full", "economy"}
    for mode in table.values():
        for row in mode.values():
            assert row["none"] > row["decoder"] > row["all"] > 0
    assert table["economy"]["bf16"]["none"] < table["full"]["bf16"]["none"] < table["full"]["fp32"]["none"]
